"""``demo``: the whole experiment on a synthetic volume."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.data import write_synthetic_volume
from counterpoise.cli.screen import console
from counterpoise.files.atomic import write_text

__all__ = ["demo"]

_EXPERIMENT = """\
# The demo: a small network on a synthetic volume. `counterpoise init` writes one like it for your own data.
preset = "demo"

[data]
datasplit = "data/datasplit.csv"
classes = ["nuc", "mito_mem", "er_mem", "pm", "golgi_mem"]
store = "store"

[arms]
# A race: three seeds of every arm, then two more of those that may still win.
design = "race"
seeds = 5
# A mistake on purpose, so that there is something to find: the cell membrane has no weight, and is not learnt.
manual_weights = { pm = 0.0 }

[run]
folder = "run"

# What we expect, written down before the first training.
[[hypothesis]]
claim = "weight_uniform >= 0.3"
because = "a few minutes of training find most of what is there"

[[hypothesis]]
claim = "weight_manual < weight_uniform"
because = "it gives the cell membrane no weight"

[[hypothesis]]
claim = "weight_inv_freq != weight_uniform"
because = "it offsets the imbalance in full: a help or, where the weights are extreme, a harm"

[[hypothesis]]
claim = "weight_log_inv = weight_sqrt_inv"
because = "both are moderate"
"""


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put data and results.", metavar="FOLDER")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic volume.", metavar="N")] = 0,
) -> None:
    """Run a whole experiment on a synthetic volume: no data needed, minutes on a CPU.

    What is there already is used again; an interrupted demo continues.

    Example: counterpoise demo my-demo
    """
    from counterpoise.cli.run import run_and_show
    from counterpoise.experiment.load import Source

    datasplit = folder / "data" / "datasplit.csv"
    if datasplit.exists():
        console.print(f"using the synthetic volume in {datasplit.parent}", soft_wrap=True)
    else:
        write_synthetic_volume(datasplit.parent, seed)
    experiment = folder / "experiment.toml"
    if not experiment.exists():
        write_text(experiment, _EXPERIMENT)
    raise typer.Exit(run_and_show(Source(experiment)))
