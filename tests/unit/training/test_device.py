"""Devices that are there or not, and memory that stays with the process."""

import subprocess
import sys

import pytest
import torch

from counterpoise.errors import TrialError
from counterpoise.training.device import open_device

_TOUCH_PAGES = """
import resource
import torch
from counterpoise.training.device import keep_freed_memory
torch.set_num_threads(1)

def most_and_least_faults():
    faults = []
    for step in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        small, large = torch.zeros(1_000_000), torch.zeros(12_000_000)
        del small, large
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return max(faults[5:]), min(faults[5:])  # the first steps let the heap grow

_, least = most_and_least_faults()
kept = keep_freed_memory()
most, _ = most_and_least_faults()
print(kept, least, most)
"""
"""Allocate, clear and free 52 MB several times; count the pages that the kernel had to find again."""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_memory_freed_in_one_step_is_there_in_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", _TOUCH_PAGES], text=True, capture_output=True, check=True, timeout=120)
    kept, before, after = done.stdout.split()
    if kept == "False":
        pytest.skip("not glibc")
    assert int(before) > 100
    assert int(after) < 100


def test_device_that_is_not_there_is_named() -> None:
    with pytest.raises(TrialError, match="no device 'tpu9'"):
        open_device("tpu9", "float32")
    if not torch.cuda.is_available():
        with pytest.raises(TrialError, match="no device cuda:3"):
            open_device("cuda:3", "float32")
