"""What is known to be wrong before anything is trained: all of it at once, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zarr

from counterpoise.errors import CounterpoiseError, ProblemsError, RunFolderError, StoreError, TrialError
from counterpoise.experiment.config import Precision
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.machine.plan import Slot
from counterpoise.notes import NoteKind, of_kind
from counterpoise.preflight import first_steps
from counterpoise.preflight.check import Check, check_experiment
from counterpoise.preflight.design import Design, design_experiment
from counterpoise.preflight.findings import Subject, problems_of
from counterpoise.preflight.first_steps import FirstSteps, choose_slots, require_first_steps, require_space
from counterpoise.preflight.inputs import Inputs, read_inputs
from counterpoise.preflight.observer import Stage
from counterpoise.preflight.prepare import PreparedRun, prepare_run
from counterpoise.report.blocks import verdict_lines
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.runs.records import TrialStatus
from counterpoise.runs.speed import Speed
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.store import StoreRequest

CPU = Hardware((), 2, 16 * GIB, ())
SPEED = Speed(1.0, 0.1, 0.01, 0.1, 2, 1000, 20_000, 5_000, 10**9, 0, micro_batch=2)


@pytest.fixture
def project(phantom: Path, tmp_path: Path) -> Path:
    """Make a project folder: data, and room for a store and a run."""
    shutil.copytree(phantom.parent, tmp_path / "data")
    return tmp_path


@pytest.fixture
def write(project: Path) -> Callable[..., Path]:
    """Return a writer of the project's experiment; ``more`` are lines at the end."""

    def write_experiment(
        more: str = "", *, classes: str = '["nuc", "pm"]', data: str = "", run: str = "run", arms: str = "seeds = 2"
    ) -> Path:
        file = project / "experiment.toml"
        file.write_text(
            f'preset = "demo"\n[data]\ndatasplit = "data/datasplit.csv"\nclasses = {classes}\nstore = "store"\n{data}\n'
            "[sampling]\npatch_shape = [32, 32]\n[training]\nbatch_size = 2\n[validation]\ntiles_per_crop = 1\n"
            f'[arms]\n{arms}\n[run]\nfolder = "{run}"\n{more}\n',
            encoding="utf-8",
        )
        return file

    return write_experiment


class Observed:
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.lines: list[str] = []

    def began(self, stage: Stage) -> None:
        self.stages.append(stage)

    def building_store(self, _request: StoreRequest) -> Callable[[int], object]:
        return lambda _: None

    def told(self, line: str) -> None:
        self.lines.append(line)


def look(file: Path) -> Inputs:
    return read_inputs(load_experiment(file))


def problems(file: Path) -> tuple[CounterpoiseError, ...]:
    return problems_of(look(file).findings)


def pass_first_steps(design: Design, hardware: Hardware, observer: Observed | None = None) -> FirstSteps | None:
    """Make the first steps as a run does, and keep the record."""
    done = require_first_steps(design, hardware, observer or Observed())
    if done is not None:
        done.write(design.run)
    return done


def check(file: Path, hardware: Hardware = CPU) -> Check:
    return check_experiment(load_experiment(file), hardware)


def design_of(file: Path, hardware: Hardware = CPU) -> Design:
    return design_experiment(look(file).require_usable(), hardware)


def prepare(file: Path) -> PreparedRun:
    return prepare_run(design_of(file), file, CPU)


def add_line(project: Path, number: int, split: str) -> None:
    """List a crop of the first dataset a second time, in a split of choice."""
    table = project / "data" / "datasplit.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if f"/crop{number}/" in line]
    _, _, rest = line.partition(",")
    table.write_text("\n".join([*lines, f'"{split}",{rest}']) + "\n", encoding="utf-8")


@pytest.fixture
def no_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let steps be tried without a process; return the numbers of slots that were asked for."""
    asked: list[int] = []

    def measured(config: object, slots: list[Slot], scratch: Path, *, brief: bool = False) -> tuple[Speed, ...]:
        asked.append(len(slots))
        return (SPEED,) * len(slots)

    monkeypatch.setattr(first_steps, "measure_slots", measured)
    return asked


# Before a voxel is decoded ------------------------------------------------------------------------------------------


def test_a_sound_experiment_has_no_problem_and_nothing_is_written(write: Callable[..., Path], project: Path) -> None:
    before = sorted(project.rglob("*"))
    file = write()
    seen = look(file)
    assert problems_of(seen.findings) == ()
    subjects = [Subject.DATA, Subject.SPLITS, Subject.STORE, Subject.RUN_FOLDER, Subject.ARMS]
    assert [finding.subject for finding in seen.findings] == subjects
    assert seen.findings[0].text == "10 train and 5 validation crops, 2 classes"
    assert seen.require_usable() is seen
    assert sorted(project.rglob("*")) == sorted([*before, file])


def test_everything_that_is_wrong_is_said_at_once(write: Callable[..., Path], project: Path) -> None:
    (project / "in the way").write_text("a file", encoding="utf-8")
    add_line(project, 5, "train")
    group = next((project / "data").glob("*/*/recon-1/labels/groundtruth/crop2/nuc"))
    (group / ".zattrs").write_text("{", encoding="utf-8")
    crop = next((project / "data").glob("*/*/recon-1/labels/groundtruth/crop3"))
    for level in crop.glob("*/s*/.zarray"):
        level.write_text(level.read_text().replace('"|u1"', '"<c8"'), encoding="utf-8")
    file = write(run="in the way/run", arms='strategies = ["weight_uniform", "nowhere:rule"]')
    with pytest.raises(ProblemsError) as caught:
        look(file).require_usable()
    said = str(caught.value)
    for words in ("meta", "crop3", "crop5 (train)", "nowhere", "in the way"):
        assert words in said, words
    assert len(caught.value.problems) == said.count("to fix:") == said.count("expected:") == 5


def test_every_wrong_line_and_class_is_said(write: Callable[..., Path], project: Path) -> None:
    table = project / "data" / "datasplit.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace('"train"', '"training?no"', 1).replace('"validate"', '"x"', 1)
    lines[3] = lines[3].replace("crop4/", "crop44/")
    table.write_text("\n".join([*lines, '"train","somewhere"', '"maybe","a","b"']) + "\n", encoding="utf-8")
    found = problems(write(classes='["nuc", "pn"]'))
    assert [error.problem.split()[1].rstrip(":") for error in found] == ["4", "16", "17"]
    table.write_text("\n".join(lines[:1] + lines[2:3] + lines[4:]) + "\n", encoding="utf-8")
    found = problems(write(classes='["nuc", "pn", "mit"]'))
    assert ["'pn'" in found[0].problem, "'mit'" in found[1].problem, len(found)] == [True, True, 2]


def test_a_leak_is_refused_unless_it_is_allowed(write: Callable[..., Path], project: Path) -> None:
    add_line(project, 5, "train")
    file = write()
    (problem,) = problems(file)
    assert "crop5 (validate) shares voxels with train crop phantom-1/crop5 (train)" in problem.problem
    with pytest.raises(CounterpoiseError, match="shares voxels"):
        design_of(file)
    assert not (project / "store").exists(), "nothing was decoded"
    allowed = write(data="allow_overlap = true")
    assert problems(allowed) == ()
    prepared = prepare(allowed)
    (note,) = of_kind(prepared.notes, NoteKind.LEAK)
    assert "phantom-1/crop5 (validate) (100 % of it in phantom-1/crop5 (train))" in note.text
    assert note.plain() in json.loads(prepared.run.weights.read_text(encoding="utf-8"))["notes"]
    assert note in judge_run(read_run(prepared.run)).notes
    assert f"* {note}." in verdict_lines(judge_run(read_run(prepared.run)))


def test_a_store_that_does_not_fit_is_refused_before_anything_is_decoded(
    write: Callable[..., Path], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write()
    store = design_of(file).store
    arrays = store.raw.nbytes + 2 * store.present.nbytes  # what is unknown is written like what is present
    free = arrays - 1
    monkeypatch.setattr("counterpoise.preflight.inputs.free_bytes", lambda _: free)
    assert problems(file) == (), "it is there already"
    building = store.path.with_name(store.path.name + ".building")
    store.path.rename(building)
    assert problems(file) == (), "what an interrupted build wrote takes no more room"
    shutil.rmtree(building)
    (problem,) = problems(file)
    assert isinstance(problem, StoreError)
    assert "does not fit" in problem.problem
    assert check(file).design is None
    assert not store.path.exists()
    free = arrays
    assert problems(file) == ()


def test_crops_that_fill_little_of_a_patch_are_a_warning(write: Callable[..., Path]) -> None:
    (data, *_) = look(write()).findings
    assert data.warnings == ()
    file = write()
    file.write_text(file.read_text().replace("[32, 32]", "[256, 512]"), encoding="utf-8")
    (data, *_) = look(file).findings
    (warning,) = data.warnings
    # By hand from the phantom's plan: its train crops measure 33 840 pixels of 16 nm in all, in the plane.
    assert f"{33_840 / 10 / (256 * 512):.0%}" == "3%"
    assert warning.startswith("train crops fill 3 % of a patch on average")


# With real steps ----------------------------------------------------------------------------------------------------


def test_a_check_that_passes_spares_the_run_its_steps(
    write: Callable[..., Path], no_steps: list[int], project: Path
) -> None:
    file = write()
    done = check(file)
    assert done.problems == ()
    assert no_steps == [2], "both slots at once: they share memory and cores"
    assert done.cost is not None
    assert done.left == len(done.design.trials) if done.design else False
    run, seen = RunFolder(project / "run"), Observed()
    assert sorted(p.name for p in run.path.iterdir()) == ["check.json"]
    assert pass_first_steps(design_of(file), CPU, seen) is not None
    assert no_steps == [2]
    assert seen.lines[0].startswith("First steps: skipped (already passed ")
    assert seen.stages == []
    # Another batch is another matter.
    file.write_text(file.read_text().replace("batch_size = 2", "batch_size = 3"), encoding="utf-8")
    pass_first_steps(design_of(file), CPU, seen)
    assert no_steps == [2, 1], "for a run, one slot of a CPU is enough"
    assert seen.stages == [Stage.FIRST_STEPS]
    assert seen.lines[1] == "First steps: trying two steps of 3 patches and a batch of tiles on cpu-0"


def test_resumed_and_finished_runs_try_no_steps(write: Callable[..., Path], no_steps: list[int]) -> None:
    file = write()
    prepared, seen = prepare(file), Observed()
    prepared.trials[1].last_checkpoint.write_bytes(b"some epoch")
    assert require_first_steps(prepared.design, CPU, seen) is None
    assert seen.lines == ["First steps: skipped (trials of this run have finished epochs)"]
    for trial in prepared.trials:
        TrialStatus("finished").write(trial.status)
    assert require_first_steps(prepared.design, CPU, seen) is None
    assert no_steps == []
    assert check(file).steps is None


def test_steps_that_passed_with_another_network_are_made_again_though_trials_have_epochs(
    write: Callable[..., Path], no_steps: list[int]
) -> None:
    prepared = prepare(write())
    pass_first_steps(prepared.design, CPU)
    prepared.trials[1].last_checkpoint.write_bytes(b"some epoch")
    other = replace(prepared.design, trials=design_of(write("[model]\nwidth = 12")).trials)
    assert pass_first_steps(other, CPU) is not None, "steps are known, and not of this network"
    assert no_steps == [1, 1]


def test_other_devices_are_tried_again(write: Callable[..., Path], no_steps: list[int], project: Path) -> None:
    design, run = design_of(write()), RunFolder(project / "run")
    pass_first_steps(design, CPU)
    gpu = Gpu(0, "GPU-a", "Big", 80 * GIB, 80 * GIB, bfloat16=True)
    slots = (Slot("gpu-0", "cuda:0", 2, (), "GPU-a"),)
    elsewhere = replace(design, machine=replace(design.machine, slots=slots))
    pass_first_steps(elsewhere, replace(CPU, gpus=(gpu,)))
    assert no_steps == [1, 1]
    kept = FirstSteps.read(run)
    assert kept is not None
    assert kept.slots == ("gpu-0",)
    run.check.write_text('{"key": 3}', encoding="utf-8")
    assert FirstSteps.read(run) is None
    pass_first_steps(design, CPU)
    assert no_steps == [1, 1, 1], "a damaged record is none"


def test_one_device_of_each_kind_is_tried_as_full_as_it_will_be() -> None:
    gpus = tuple(
        Gpu(k, f"GPU-{k}", name, memory * GIB, memory * GIB, bfloat16=True)
        for k, (name, memory) in enumerate([("A", 40), ("A", 40), ("B", 24), ("A", 80)])
    )
    slots = [Slot(f"gpu-{k}.{n}", "cuda:0", 1, (), f"GPU-{k}") for n in range(2) for k in range(4)]
    chosen = [slot.name for slot in choose_slots(slots, Hardware(gpus, 8, GIB, ()))]
    assert chosen == ["gpu-0.0", "gpu-2.0", "gpu-3.0", "gpu-0.1", "gpu-2.1", "gpu-3.1"]
    cpu = [Slot(f"cpu-{k}", "cpu", 1, ()) for k in range(3)]
    assert [slot.name for slot in choose_slots(cpu, CPU)] == ["cpu-0"]


def test_room_for_checkpoints_is_asked_for(
    write: Callable[..., Path], no_steps: list[int], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write()
    design, run = design_of(file), RunFolder(project / "run")
    few, more = (require_space(design, left, [SPEED]) for left in (1, 3))
    # Every trial leaves two checkpoints and its records; those that run (two slots) have two more of the larger kind.
    records = (more - few - 2 * 25_000 - 2 * 20_000) / 2
    assert few == pytest.approx(25_000 + records + 2 * 20_000)
    assert 0 < records < 10**6
    monkeypatch.setattr(first_steps, "free_bytes", lambda _: few - 1)
    with pytest.raises(RunFolderError, match="too little space"):
        require_space(design, 1, [SPEED])
    with pytest.raises(RunFolderError, match="too little space"):
        pass_first_steps(design, CPU)
    (problem,) = check(file).problems
    assert "too little space" in problem.problem
    assert not run.path.exists(), "what is refused leaves nothing behind"


def test_what_is_unusual_about_the_steps_is_a_warning(write: Callable[..., Path]) -> None:
    design = design_of(write())
    design = replace(design, machine=replace(design.machine, batch_size=8))
    odd = [replace(SPEED, micro_batch=8), replace(SPEED, micro_batch=4, nonfinite_steps=3, memory_bytes=9 * 10**9)]
    small, nonfinite, memory = FirstSteps("k", "now", ("a", "b"), tuple(odd)).warnings(design, CPU)
    assert small.startswith("b: a batch of 8 does not fit into its memory; 4 patches at a time do")
    assert nonfinite.startswith("3 of the first steps")
    assert memory == "2 trials at once may need 18.0 GB of memory, and the machine has 17.2 GB: lower run.slots"
    usual = FirstSteps("k", "now", ("a",), (replace(SPEED, micro_batch=8),))
    assert usual.warnings(design, CPU) == ()
    # In float16 the first steps overflow on purpose: so a scale of the loss is found.
    lost = FirstSteps("k", "now", ("a",), (replace(SPEED, micro_batch=8, nonfinite_steps=3),))
    expected: dict[Precision, int] = {"float32": 1, "bfloat16": 1, "float16": 0}
    for precision, warnings in expected.items():
        made = replace(design, machine=replace(design.machine, precision=precision))
        assert len(lost.warnings(made, CPU)) == warnings


def test_a_network_that_fails_in_its_first_step_fails_before_there_is_a_run(
    write: Callable[..., Path], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "failing.py").write_text(
        "from counterpoise import UNet2D\n\nclass Failing(UNet2D):\n    def forward(self, images):\n"
        "        raise ValueError('a slip of the pen')\n\ndef network(**shape):\n    return Failing(**shape)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setenv("PYTHONPATH", str(project))
    file = write("[model]\nname = 'failing:network'")
    (problem,) = check(file).problems
    assert isinstance(problem, TrialError)
    assert "a slip of the pen" in problem.found
    with pytest.raises(TrialError, match="first steps of a trial failed"):
        require_first_steps(design_of(file), CPU)
    assert not (project / "run").exists()


def test_raw_that_shows_nothing_is_a_warning_that_counts_its_crops(write: Callable[..., Path], project: Path) -> None:
    file = write()
    assert not [finding for finding in check(file).findings if finding.subject is Subject.RAW]
    (volume,) = (project / "data").glob("phantom-1/*.zarr/recon-1/em/fibsem-uint8")
    for level in volume.glob("s*"):
        zarr.open_array(str(level), mode="r+")[...] = 7
    (warned,) = (finding for finding in check(file).findings if finding.subject is Subject.RAW)
    listed = (project / "data" / "datasplit.csv").read_text(encoding="utf-8").splitlines()
    spoilt = sum("phantom-1/" in line for line in listed)
    assert (warned.problems, warned.warnings) == (
        (),
        (f"{spoilt} of {len(listed)} crops with raw of one value, or mostly 0: see the notes",),
    )


def test_steps_are_really_made_and_their_room_is_measured(write: Callable[..., Path], project: Path) -> None:
    seen = Observed()
    done = pass_first_steps(design_of(write()), CPU, seen)
    assert done is not None
    (speed,) = done.speeds
    assert (done.slots, speed.steps, speed.micro_batch, speed.nonfinite_steps) == (("cpu-0",), 2, 2, 0)
    assert 1.0 < speed.last_bytes / (16 * speed.parameters) < 3.0
    assert seen.lines == ["First steps: trying two steps of 2 patches and a batch of tiles on cpu-0"]
    assert FirstSteps.read(RunFolder(project / "run")) == done
