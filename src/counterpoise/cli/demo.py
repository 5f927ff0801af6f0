"""``demo`` and ``data phantom``: something to try everything on."""

from __future__ import annotations

from pathlib import Path

from counterpoise.cli.run import run_and_show
from counterpoise.cli.screen import console
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import write_text
from counterpoise.phantom.make import write_phantom

__all__ = ["make_phantom", "run_demo"]

_EXPERIMENT = """\
# The demo: a small network on a made volume. `counterpoise init` writes one like it for your own data.
preset = "demo"

[data]
datasplit = "data/datasplit.csv"
classes = ["nuc", "mito_mem", "er_mem", "pm", "golgi_mem"]
store = "store"

[run]
folder = "run"
"""


def run_demo(folder: Path, seed: int) -> int:
    """Make the volume unless it is there, run the experiment, return its exit code."""
    datasplit = folder / "data" / "datasplit.csv"
    if datasplit.exists():
        console.print(f"using the made volume in {datasplit.parent}", markup=False)
    else:
        make_phantom(datasplit.parent, seed)
    experiment = folder / "experiment.toml"
    if not experiment.exists():
        write_text(experiment, _EXPERIMENT)
    return run_and_show(experiment)


def make_phantom(folder: Path, seed: int) -> None:
    """Write a made volume into a new or empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(
            f"{folder} is in use",
            expected="an empty folder, or none",
            found="a file" if folder.is_file() else "a folder with other files in it",
            remedy="name another folder",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        csv = write_phantom(folder, seed=seed)
    except OSError as error:
        raise RunFolderError(
            f"the made volume cannot be written to {folder}",
            expected="a folder with room for about 40 MB, where you may write",
            found=error.strerror or str(error),
            remedy="name another folder, or make room",
        ) from error
    console.print(f"made volume: {csv}", markup=False, soft_wrap=True)
