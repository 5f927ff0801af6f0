"""What schedulers set in a job's environment, written down as their manuals show it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.machine.allocation import read_allocation
from counterpoise.machine.limits import Limit, Resource

GIB = 1 << 30
MIB = 1 << 20

SLURM_JOB = {
    # sbatch --cpus-per-task=8 --mem-per-cpu=4G, on a node with 32 cores given to the job's four tasks
    "SLURM_JOB_ID": "5687940",
    "SLURM_NODEID": "0",
    "SLURM_CPUS_PER_TASK": "8",
    "SLURM_CPUS_ON_NODE": "32",
    "SLURM_JOB_CPUS_PER_NODE": "32(x2)",
    "SLURM_MEM_PER_CPU": "4096",
}


def cores(environment: dict[str, str], host: str = "node17") -> float | None:
    amounts = [limit.amount for limit in read_allocation(environment, host) if limit.resource is Resource.CORES]
    return min(read(amounts), default=None)


def memory(environment: dict[str, str]) -> float | None:
    limits = read_allocation(environment, "node17")
    return min(read([limit.amount for limit in limits if limit.resource is Resource.MEMORY]), default=None)


def read(amounts: list[float | None]) -> list[float]:
    assert None not in amounts
    return [amount for amount in amounts if amount is not None]


def test_a_slurm_task_has_its_cores_and_the_job_its_memory() -> None:
    assert cores(SLURM_JOB) == 8
    assert memory(SLURM_JOB) == 32 * 4 * GIB


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "12"}, 12),
        ({"SLURM_JOB_CPUS_PER_NODE": "16"}, 16),
        ({"SLURM_JOB_CPUS_PER_NODE": "72(x2),36"}, 72),
        ({"SLURM_JOB_CPUS_PER_NODE": "72(x2),36", "SLURM_NODEID": "1"}, 72),
        ({"SLURM_JOB_CPUS_PER_NODE": "72(x2),36", "SLURM_NODEID": "2"}, 36),
        ({"SLURM_JOB_CPUS_PER_NODE": "72(x2),36", "SLURM_NODEID": "7"}, 72),
        ({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, None),  # these limit a library, not a job
        ({}, None),
    ],
)
def test_slurm_says_the_cores_of_this_node(variables: dict[str, str], expected: int | None) -> None:
    assert cores({"SLURM_JOB_ID": "1", **variables}) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "64000"}, 64000 * MIB),
        ({"SLURM_MEM_PER_NODE": "0"}, None),  # --mem=0: all the node has
        ({"SLURM_MEM_PER_NODE": "64G"}, 64 * GIB),
        ({"SLURM_MEM_PER_CPU": "2000", "SLURM_CPUS_ON_NODE": "4"}, 8000 * MIB),
        ({"SLURM_MEM_PER_CPU": "2000", "SLURM_JOB_CPUS_PER_NODE": "6"}, 12000 * MIB),
        ({"SLURM_MEM_PER_GPU": "10000", "SLURM_GPUS_ON_NODE": "2"}, 20000 * MIB),
    ],
)
def test_slurm_says_the_memory_of_this_node(variables: dict[str, str], expected: int | None) -> None:
    assert memory({"SLURM_JOB_ID": "1", **variables}) == expected


@pytest.mark.parametrize(
    ("variables", "host", "expected"),
    [
        ({"LSB_DJOB_NUMPROC": "12"}, "h07u01", 12),
        ({"LSB_MAX_NUM_PROCESSORS": "16"}, "h07u01", 16),
        ({"LSB_DJOB_NUMPROC": "12", "LSB_MAX_NUM_PROCESSORS": "16"}, "h07u01", 12),
        ({"LSB_DJOB_NUMPROC": "12", "LSB_MCPU_HOSTS": "h07u01 8 h07u02 4"}, "h07u01", 8),
        ({"LSB_DJOB_NUMPROC": "12", "LSB_MCPU_HOSTS": "h07u01 8 h07u02 4"}, "H07U02.cluster.org", 4),
        ({"LSB_DJOB_NUMPROC": "12", "LSB_MCPU_HOSTS": "h07u01.cluster.org 8 h07u02 4"}, "h07u01", 8),
        ({"LSB_DJOB_NUMPROC": "12", "LSB_MCPU_HOSTS": "h07u01 8 h07u02 4"}, "container-3f2a", 8),
    ],
)
def test_lsf_says_the_slots_of_this_host(variables: dict[str, str], host: str, expected: int) -> None:
    assert cores({"LSB_JOBID": "99", **variables}, host) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NCPUS": "8", "OMP_NUM_THREADS": "8"}, 8),
        ({"PBS_NCPUS": "6"}, 6),
        ({"PBS_NUM_PPN": "4", "PBS_NP": "16"}, 4),  # Torque: per node, not of all nodes
        ({"OMP_NUM_THREADS": "1"}, None),
    ],
)
def test_pbs_says_the_cores_of_this_node(variables: dict[str, str], expected: int | None) -> None:
    assert cores({"PBS_JOBID": "7.server", **variables}) == expected


def test_variables_left_over_outside_of_a_job_limit_nothing() -> None:
    environment = {name: value for name, value in SLURM_JOB.items() if name != "SLURM_JOB_ID"}
    environment |= {"NCPUS": "2", "LSB_DJOB_NUMPROC": "3"}
    assert read_allocation(environment, "node17") == []


@pytest.mark.parametrize(
    ("job", "name", "value"),
    [
        ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "0"),
        ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "-4"),
        ("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE", "many"),
        ("SLURM_JOB_ID", "SLURM_JOB_CPUS_PER_NODE", "8(x"),
        ("SLURM_JOB_ID", "SLURM_JOB_CPUS_PER_NODE", "0(x3)"),
        ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "1.5"),
        ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "2000"),  # of how many?
        ("LSB_JOBID", "LSB_MCPU_HOSTS", "node17 many"),
        ("LSB_JOBID", "LSB_MCPU_HOSTS", "node17"),
        ("LSB_JOBID", "LSB_DJOB_NUMPROC", "²"),
        ("PBS_JOBID", "NCPUS", "9" * 5000),
    ],
)
def test_values_that_make_no_sense_have_no_amount(job: str, name: str, value: str) -> None:
    (limit,) = read_allocation({job: "1", name: value}, "node17")
    assert limit.amount is None
    assert limit.resource is (Resource.MEMORY if "MEM" in name else Resource.CORES)
    assert f"{name}={value}" in limit.source


def test_pbs_goes_on_to_the_next_variable_that_makes_sense() -> None:
    assert read_allocation({"PBS_JOBID": "1", "NCPUS": "?", "PBS_NUM_PPN": "4"}, "node17") == [
        Limit(Resource.CORES, None, "NCPUS=?"),
        Limit(Resource.CORES, 4, "PBS_NUM_PPN=4"),
    ]


def test_a_limit_names_the_variable_that_sets_it() -> None:
    assert [limit.source for limit in read_allocation(SLURM_JOB, "node17")] == [
        "SLURM_CPUS_PER_TASK=8",
        "SLURM_CPUS_ON_NODE=32",
        "SLURM_JOB_CPUS_PER_NODE=32(x2)",
        "SLURM_MEM_PER_CPU=4096, times 32",
    ]


@given(st.lists(st.tuples(st.integers(1, 256), st.integers(1, 5)), min_size=1, max_size=4), st.integers(0, 30))
def test_the_short_form_of_a_list_of_nodes_means_the_long_one(groups: list[tuple[int, int]], node: int) -> None:
    short = ",".join(f"{count}(x{times})" if times > 1 else str(count) for count, times in groups)
    long = [count for count, times in groups for _ in range(times)]
    found = cores({"SLURM_JOB_ID": "1", "SLURM_JOB_CPUS_PER_NODE": short, "SLURM_NODEID": str(node)})
    assert found == (long[node] if node < len(long) else long[0])


NAMES = [
    "SLURM_CPUS_PER_TASK",
    "SLURM_JOB_CPUS_PER_NODE",
    "SLURM_MEM_PER_CPU",
    "LSB_MCPU_HOSTS",
    "NCPUS",
    "SLURM_NODEID",
]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=12)))
def test_no_text_makes_it_fail(variables: dict[str, str]) -> None:
    limits = read_allocation({"SLURM_JOB_ID": "1", "LSB_JOBID": "1", "PBS_JOBID": "1", **variables}, "node17")
    assert all(limit.amount is None or limit.amount > 0 for limit in limits)
