"""Compiled loops are kept where they can be, and compiled anew where they cannot."""

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from numba import njit

from counterpoise import compiled as module
from counterpoise.compiled import compiled

SOURCE = "def double(x):\n    return 2 * x\n"


@pytest.fixture
def without_a_file() -> FunctionType:
    """Return a function for which numba finds no folder: like one in a package that nobody here may write to."""
    namespace: dict[str, Any] = {}
    exec(SOURCE, namespace)  # noqa: S102
    double: FunctionType = namespace["double"]
    return double


def load(file: Path) -> Callable[[int], int]:
    """Import the function from its file, as a new process would."""
    spec = importlib.util.spec_from_file_location("doubled", file)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    double: Callable[[int], int] = found.double
    return double


def test_without_a_folder_to_keep_them_in_loops_are_compiled_all_the_same_and_that_is_said_once(
    without_a_file: FunctionType, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="no locator available"):
        njit(cache=True)(without_a_file)
    module._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="counterpoise"):
        functions = [compiled()(without_a_file), compiled(error_model="numpy")(without_a_file)]
    assert [function(21) for function in functions] == [42, 42]
    assert all(function.signatures for function in functions)  # type: ignore[attr-defined]  # compiled, not Python
    (record,) = caplog.records
    assert "set NUMBA_CACHE_DIR" in record.getMessage()


def test_what_was_compiled_once_is_read_by_the_next_process(tmp_path: Path) -> None:
    file = tmp_path / "doubled.py"
    file.write_text(SOURCE, encoding="utf-8")
    first, second = compiled()(load(file)), compiled()(load(file))
    assert first(21) == second(21) == 42
    for function, misses, hits in ((first, 1, 0), (second, 0, 1)):
        stats = function.stats  # type: ignore[attr-defined]
        assert (sum(stats.cache_misses.values()), sum(stats.cache_hits.values())) == (misses, hits)


def test_options_reach_the_compiler() -> None:
    namespace: dict[str, Any] = {}
    exec("def share(a, b):\n    return a / b\n", namespace)  # noqa: S102
    share = namespace["share"]
    assert compiled(error_model="numpy")(share)(1.0, 0.0) == float("inf")
    with pytest.raises(ZeroDivisionError):
        compiled()(share)(1.0, 0.0)
