"""From an [engine] table to slots, threads, batch size and precision."""

import pytest

from counterpoise.errors import ConfigError
from counterpoise.experiment.load import parse_experiment
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.plan import MachinePlan, plan_machine

LOGIN_NODE = Hardware((), cores=4, memory_bytes=8 << 30, notes=())
CHOSEN = 'training.batch_size = 24\ntraining.precision = "float16"\n'
SLURM = '[engine]\nkind = "slurm"\nwalltime = "4:00:00"\n'


def plan(text: str, *, trials: int = 100) -> MachinePlan:
    experiment = parse_experiment('data.datasplit = "a.csv"\ndata.classes = ["nuc"]\n' + text)
    return plan_machine(experiment, LOGIN_NODE, trials=trials)


def test_gpus_of_all_jobs_make_the_slots_and_share_the_cores_of_their_node() -> None:
    made = plan(f"run.per_gpu = 2\n{CHOSEN}{SLURM}jobs = 3\nnodes = 2\ngpus = 4\ncores = 48\n")
    assert len(made.slots) == 3 * 2 * 4 * 2
    assert {(slot.device, slot.threads, slot.gpu) for slot in made.slots} == {("cuda:0", 48 // 8, "")}
    assert len({slot.name for slot in made.slots}) == len(made.slots)
    assert dict(made.slots[0].environment)["OMP_NUM_THREADS"] == "6"
    assert "CUDA_VISIBLE_DEVICES" not in dict(made.slots[0].environment)  # the node knows its own
    assert (made.batch_size, made.precision) == (24, "float16")
    assert made.reasons[0] == "48 slots: up to 3 jobs of slurm, 2 nodes per job, 4 GPUs per node, 2 trials on each"


@pytest.mark.parametrize(
    ("text", "slots", "threads"),
    [
        (f"{SLURM}jobs = 2\ngpus = 0\ncores = 8\n", 16, 1),
        (f"run.threads = 4\n{SLURM}jobs = 2\ngpus = 0\ncores = 8\n", 4, 4),
        (f"run.threads = 16\n{SLURM}gpus = 0\ncores = 8\n", 1, 16),
        (f"{SLURM}gpus = 0\ncores = 8\nmemory_gb = 6\n", 2, 4),  # 3 GiB for each
    ],
)
def test_without_gpus_the_cores_make_the_slots_as_memory_allows(text: str, slots: int, threads: int) -> None:
    made = plan(text)
    assert len(made.slots) == slots
    assert {(slot.device, slot.threads) for slot in made.slots} == {("cpu", threads)}
    assert (made.batch_size, made.precision) == (8, "float32")


def test_there_are_no_more_slots_than_trials() -> None:
    assert len(plan(f"{CHOSEN}{SLURM}jobs = 50\n", trials=3).slots) == 3


def test_workers_on_this_machine_cannot_have_gpus_that_it_lacks() -> None:
    with pytest.raises(ConfigError, match="more than this machine has"):
        plan('[engine]\nkind = "parsl_local"\n')
