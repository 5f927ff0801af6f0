"""What a run keeps of the experiment it was started with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from counterpoise.cli.places import find_source
from counterpoise.experiment.load import Source, load_experiment
from counterpoise.experiment.overrides import read_override, read_seeds
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.prepare import PreparedRun, prepare_run


def prepared_from(source: Source) -> PreparedRun:
    hardware = Hardware((), 1, 16 * GIB, ())
    design = design_experiment(read_inputs(load_experiment(source)).require_usable(), hardware)
    return prepare_run(design, source, hardware)


def test_the_run_alone_repeats_what_the_command_line_set(phantom: Path, tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(
        f'preset = "demo"\n[data]\ndatasplit = "{phantom}"\nclasses = ["nuc", "pm"]\n'
        '[arms]\nstrategies = ["weight_uniform", "weight_inv_freq"]  # two\n[run]\nfolder = "run"\n',
        encoding="utf-8",
    )
    overrides = (read_override("training.epochs=7"), read_override("sampling.patch_shape=[32, 32]"), read_seeds("2"))
    source = Source(file, overrides)
    asked = load_experiment(source)
    prepared = prepared_from(source)
    assert len(prepared.trials) == 4
    kept = prepared.run.config.read_text(encoding="utf-8")
    assert "epochs = 7  # set on the command line" in kept
    assert "# two" in kept
    assert load_experiment(find_source(prepared.run.path)) == asked
    environment = json.loads(prepared.run.environment.read_text(encoding="utf-8"))
    assert environment["experiment"] == str(file)
    assert shlex.split(environment["repeat"]) == [
        "counterpoise", "run", str(file), "--set", "training.epochs=7", "--set", "sampling.patch_shape=[32, 32]",
        "--seeds", "2",
    ]  # fmt: skip
    again = find_source(prepared.run.path)
    prepared_from(again)
    assert prepared.run.config.read_text(encoding="utf-8") == kept
