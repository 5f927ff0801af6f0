"""The [engine] table: what it refuses, what it asks of others, and that it changes no result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.engine import EngineConfig, walltime_seconds
from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.template import as_toml
from counterpoise.experiment.trial import TrialConfig

# Three lines; what a test adds begins in line 4.
LEAST = '[data]\ndatasplit = "split.csv"\nclasses = ["nuc", "pm"]\n'
CHOSEN = '[training]\nbatch_size = 64\nprecision = "bfloat16"\n'


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ('[engine]\nkind = "slrm"', "line 5: engine.kind", "'slurm'"),
        ('[engine]\nkind = "slurm"', "line 4: engine.walltime", '"4:00:00"'),
        ('[engine]\nkind = "lsf"\nwalltime = "4:00"', "line 6: engine.walltime", "H:MM:SS"),
        ('[engine]\nkind = "pbs"\nwalltime = "0:01:59"', "line 6: engine.walltime", "two minutes"),
        ('[engine]\nkind = "pbs"\nwalltime = "1:60:00"', "line 6: engine.walltime", "H:MM:SS"),
        ('[engine]\nkind = "kubernetes"', "line 4: engine.image", "image"),
        ('[engine]\nkind = "lsf"\nwalltime = "4:00:00"\nnodes = 2', "line 7: engine.nodes", "engine.jobs"),
        ('[engine]\nqueue = "gpu; rm"', "line 5: engine.queue", "letters"),
        ("[engine]\ngpus = -1", "line 5: engine.gpus", "0"),
        ("[engine]\njobs = 0", "line 5: engine.jobs", "1"),
        ('[engine]\nwaltime = "4:00:00"', "line 5: unknown key 'engine.waltime'", "did you mean 'walltime'"),
        ('[engine]\nkind = "parsl_local"\n[run]\nslots = 2', "line 7: run.slots", '"auto"'),
        ('[engine]\nkind = "slurm"\nwalltime = "4:00:00"', "training.batch_size", "64 for 40 GB"),
        (
            '[training]\nbatch_size = 64\n[engine]\nkind = "slurm"\nwalltime = "4:00:00"',
            "line 4: training.precision",
            "bfloat16",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_key_and_line(text: str, place: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_experiment(LEAST + text, name="mine.toml")
    assert place in raised.value.problem
    assert hint in f"{raised.value.expected} {raised.value.remedy}"


@pytest.mark.parametrize("text", ["gpus = 0", 'kind = "parsl_local"'])
def test_batch_and_precision_may_be_left_to_the_machine_where_it_can_know(text: str) -> None:
    kind = "" if "kind" in text else 'kind = "slurm"\nwalltime = "4:00:00"\n'
    assert parse_experiment(f"{LEAST}[engine]\n{kind}{text}\n").training.batch_size == "auto"


def test_every_key_of_the_table_goes_through_the_template_and_back() -> None:
    text = f"""{LEAST}{CHOSEN}[engine]
kind = "slurm"
jobs = 3
nodes = 2
gpus = 4
cores = 32
memory_gb = 200
walltime = "12:00:00"
queue = "gpu"
account = "lab"
options = "#SBATCH --qos=short"
worker_init = '''
module load "cuda"
source env/bin/activate
'''
address = "10.0.0.1"
image = "registry/image:1"
namespace = "lab"
volumes = {{ data = "/data" }}
"""
    experiment = parse_experiment(text)
    assert experiment.engine.worker_init == 'module load "cuda"\nsource env/bin/activate\n'
    assert parse_experiment(as_toml(experiment, header="")).engine == experiment.engine
    defaults = EngineConfig()
    assert all(getattr(experiment.engine, key) != getattr(defaults, key) for key in EngineConfig.model_fields)


@given(st.integers(0, 9999), st.integers(0, 59), st.integers(0, 59))
def test_a_walltime_is_read_as_hours_minutes_seconds(hours: int, minutes: int, seconds: int) -> None:
    assert walltime_seconds(f"{hours}:{minutes:02}:{seconds:02}") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize("text", ["", "4", "4:00", "-1:00:00", "1:00:00:00", "1:0:0", "four hours"])
def test_what_is_no_walltime_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not H:MM:SS"):
        walltime_seconds(text)


@pytest.mark.parametrize(
    ("walltime", "train_s"),
    # Schedulers are asked for whole minutes: the third job has two, and is stopped in time.
    [("0:10:00", 540), ("1:40:00", 5400), ("0:02:50", 108), ("24:00:00", 85800), ("", None)],
)
def test_a_tenth_of_the_walltime_is_left_for_the_last_epoch_and_ten_minutes_at_most(
    walltime: str, train_s: int | None
) -> None:
    assert EngineConfig(walltime=walltime).train_s == train_s


def trial_of(experiment: Experiment) -> TrialConfig:
    tables = ("sampling", "model", "loss", "training", "validation")
    return TrialConfig.model_validate(
        {
            "arm": "weight_uniform",
            "seed": 0,
            "classes": experiment.data.classes,
            "class_weights": {"nuc": 1.0, "pm": 1.0},
            "store": "store",
            "store_fingerprint": "f",
            "tiles_hash": "t",
            **{name: getattr(experiment, name).model_dump() for name in tables},
        }
    )


def test_the_engine_is_no_part_of_a_trial_and_of_its_fingerprint() -> None:
    here = parse_experiment(LEAST + CHOSEN)
    there = parse_experiment(LEAST + CHOSEN + '[engine]\nkind = "slurm"\nwalltime = "4:00:00"\njobs = 8\n')
    other = parse_experiment(LEAST + CHOSEN.replace("64", "32"))
    assert trial_of(here).fingerprint() == trial_of(there).fingerprint() != trial_of(other).fingerprint()
    assert "engine" not in TrialConfig.model_fields
