"""Configurations and lists of crops with slips of every kind: a clean end, or an error in four parts; no traceback."""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.engines.engine import StoppedError
from counterpoise.experiment.config import Experiment
from counterpoise.runs.speed import Speed

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
RequireClean = Callable[..., int]

CLEAN, BAD_INPUT, STOPPED = 0, 2, 130
EXAMPLES = 100
SPEED = Speed(1.0, 0.1, 0.01, 0.1, 2, 1000, 20_000, 5_000, 10**9, 0)

# Every line of a valid experiment; {data}, {store} and {here} are filled in. Large networks are not asked for: what a
# trial of them takes is found out in a process of its own, which these tests do not start.
LINES = (
    'preset = "demo"',
    "hypothesis = []",
    "[data]",
    'datasplit = "{data}/datasplit.csv"',
    'classes = ["nuc", "pm"]',
    "voxel_size_nm = [16, 16, 16]",
    "max_upsampling = 4.0",
    "allow_overlap = false",
    'store = "{store}"',
    "[sampling]",
    "patch_shape = [32, 32]",
    "slices = 1",
    'crop_weights = "uniform"',
    "rotation_degrees = 180.0",
    "[model]",
    'name = "unet2d"',
    "width = 4",
    "depth = 2",
    "[loss]",
    "alpha = 0.6",
    "[training]",
    "epochs = 2",
    "batch_size = 2",
    "learning_rate = 1e-3",
    "[validation]",
    "tiles_per_crop = 2",
    "every_epochs = 1",
    "[arms]",
    'strategies = ["weight_uniform", "weight_inv_freq", "weight_manual"]',
    'baseline = "weight_uniform"',
    "seeds = 3",
    "manual_weights = {{ nuc = 1.0, pm = 2.0 }}",
    "[verdict]",
    "margin = 0.01",
    'unit = "crop"',
    "[run]",
    'folder = "run"',
    "slots = 1",
    "threads = 1",
    "retries = 1",
)
KEYS = [number for number, line in enumerate(LINES) if "=" in line]

ODD_NUMBERS = (
    "-1 0 1 2 3 64 1000 1000000 2147483648 9223372036854775808 1000000000000000000000000000000 0x10 1_000 "
    "0.0 -0.0 0.5 1.0 1e-9 1e-300 1e300 1e400 nan inf -inf"
)
ODD_TEXTS = (
    ". .. / ~ - : a: /dev/null /proc/self {here} {data} nowhere ../../../../../../../../etc con [bold] {{ %s auto nuc "
    "module:name os:system json:dumps weight_uniform"
)
ODD_CELLS = (
    "train validate val test usage . .. / , ; ' \" # é nan /dev/null phantom-1 datasplit.csv recon-1/em "
    "recon-1/em/fibsem-uint8/s0 phantom-1/phantom-1.zarr [ ] [] [,] [nuc nuc] [nuc,nuc] [nuc,pm] crop1/[nuc]/s0 "
    "crop1/[../pm]"
)
odd_numbers = st.sampled_from(ODD_NUMBERS.split())
odd_characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
odd_texts = st.one_of(
    st.sampled_from(["", " ", "a" * 300, "b/" * 3000, "\\u0000", "x\\u0000y", "\\u001b[31m", "\\n", "\\U0001F9EA"]),
    st.sampled_from(ODD_TEXTS.split()),
    odd_characters.map(lambda text: "".join(f"\\U{ord(c):08x}" for c in text)),
).map(lambda text: f'"{text}"')
odd_values = st.one_of(
    odd_numbers,
    odd_texts,
    st.sampled_from(
        ["true", "false", "[]", "{{}}", "1979-05-27", "07:32:00", "[[1]]", "{{ a = {{ b = 1 }} }}", "", "="]
    ),
    st.lists(st.one_of(odd_numbers, odd_texts), max_size=4).map(lambda items: f"[{', '.join(items)}]"),
    st.lists(odd_texts, min_size=60, max_size=70).map(lambda items: f"[{', '.join(items)}]"),
)


def retyped(number: int, value: str) -> list[str]:
    return [f"{line.partition(' = ')[0]} = {value}" if k == number else line for k, line in enumerate(LINES)]


def moved(number: int, place: int) -> list[str]:
    rest = [line for k, line in enumerate(LINES) if k != number]
    return [*rest[:place], LINES[number], *rest[place:]]


lines_of_experiments = st.one_of(
    st.builds(retyped, st.sampled_from(KEYS), odd_values),
    st.builds(retyped, st.sampled_from(KEYS), odd_values),
    st.sampled_from(range(len(LINES))).map(lambda n: [*LINES[:n], *LINES[n + 1 :]]),  # deleted
    st.sampled_from(range(len(LINES))).map(lambda n: [*LINES[: n + 1], *LINES[n:]]),  # twice
    st.builds(moved, st.sampled_from(range(len(LINES))), st.integers(0, len(LINES))),
    st.builds(
        lambda n, c: [*LINES[:n], LINES[n].replace("e", c), *LINES[n + 1 :]], st.sampled_from(KEYS), odd_characters
    ),
    st.builds(
        lambda n, key, value: [*LINES[:n], f"{key} = {value}", *LINES[n:]],
        st.integers(0, len(LINES)),
        st.sampled_from(["epoch", "preset", "claim", '"a b"', "a.b.c", "data", "folder", "'é'"]),
        odd_values,
    ),
    st.builds(
        lambda claim, because: [*LINES[:1], *LINES[2:], "[[hypothesis]]", f"claim = {claim}", f"because = {because}"],
        st.one_of(
            odd_values,
            st.sampled_from(['"weight_uniform > 2"', '"a best of b"', '"weight_uniform[x] > 1"', '"> = <"', '"1 > 0"']),
        ),
        odd_values,
    ),
)


def encode(text: str, encoding: str, end: str) -> bytes:
    return text.replace("\n", end).encode(encoding, errors="replace")


def spoil(content: bytes, how: str, at: float, noise: bytes) -> bytes:
    """Damage a file: cut it off, put bytes in between or over what is there, empty it."""
    place = int(at * len(content))
    return {
        "whole": content,
        "cut": content[:place],
        "inserted": content[:place] + noise + content[place:],
        "overwritten": content[:place] + noise + content[place + len(noise) :],
        "empty": b"",
        "noise": noise * 50,
    }[how]


damages = st.tuples(
    st.sampled_from(["whole"] * 12 + ["cut", "inserted", "overwritten", "empty", "noise"]),
    st.floats(0, 1),
    st.one_of(
        st.binary(min_size=1, max_size=8), st.sampled_from([b'"', b"[", b"\n", b",", b"\x00", b"#", b"'''", b"="])
    ),
)
encodings = st.tuples(
    st.sampled_from(["utf-8"] * 9 + ["utf-8-sig", "utf-16", "latin-1"]),
    st.sampled_from(["\n"] * 6 + ["\r\n", "\r"]),
)


@pytest.fixture(scope="module")
def require_clean(command_line: CommandLine) -> Callable[..., int]:
    """Run a command and expect one of its clean ends; a refusal says its four parts as often as it begins."""

    def require(*arguments: object) -> int:
        done = command_line(*arguments)
        code, said = done.returncode, done.stderr
        assert code in {CLEAN, BAD_INPUT, STOPPED}, f"{arguments}: exit code {code}\n{said}"
        assert "Traceback" not in said
        if code == BAD_INPUT:
            parts = [sum(line.startswith(f"  {part}") for line in said.splitlines()) for part in
                     ("expected: ", "found:    ", "to fix:   ")]  # fmt: skip
            assert min(parts) == max(parts) >= 1, f"{arguments}: not in four parts\n{said}"
        return code

    return require


@pytest.fixture(scope="module", autouse=True)
def untrained() -> Iterator[None]:
    """Let runs stop where training would begin, and steps be tried without a process."""

    def measured(config: Any, slots: Any, scratch: Path, *, brief: bool = False) -> tuple[Speed, ...]:
        return (SPEED,) * len(slots)

    def stopped(*_: Any, **__: Any) -> None:
        raise StoppedError

    with (
        mock.patch("counterpoise.preflight.first_steps.measure_slots", measured),
        mock.patch("counterpoise.run.run_trials", stopped),
    ):
        yield


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores") / "store"


def test_the_lines_that_are_spoilt_make_a_whole_experiment(
    small_data: Path, shared_store: Path, require_clean: RequireClean
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.toml"
        text = "\n".join(LINES).format(data=small_data, store=shared_store, here=folder)
        file.write_text(text, encoding="utf-8")
        assert set(tomllib.loads(text)) == set(Experiment.model_fields) - {"engine"}
        assert require_clean("check", file) == CLEAN
        assert require_clean("plan", file, "--no-measure") == CLEAN
        assert require_clean("run", file) == STOPPED


@settings(max_examples=EXAMPLES, derandomize=True)
@given(
    lines=lines_of_experiments,
    damage=damages,
    encoding=encodings,
    command=st.sampled_from([["run"], ["plan", "--no-measure"]]),
)
def test_any_experiment_ends_cleanly(
    small_data: Path,
    shared_store: Path,
    require_clean: RequireClean,
    lines: list[str],
    damage: tuple[str, float, bytes],
    encoding: tuple[str, str],
    command: list[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.toml"
        text = "\n".join(lines)
        for name, value in {"data": small_data, "store": shared_store, "here": folder, "": ""}.items():
            text = text.replace("{" + name + "}", str(value)) if name else text.replace("{{", "{").replace("}}", "}")
        file.write_bytes(spoil(encode(text, *encoding), *damage))
        checked, code = require_clean("check", file), require_clean(command[0], file, *command[1:])
        if command == ["run"]:  # what is let through by the check is not refused before training, and the rest is
            assert (checked == BAD_INPUT) == (code == BAD_INPUT), (checked, code)


# Lists of crops

odd_cells = st.one_of(
    st.sampled_from(["", " ", "\t", "\x00", "x\x00y", "\x1b[2J", "\U0001f9ea", "\u2028", "a" * 300, "x" * 200_000]),
    st.sampled_from(ODD_CELLS.split()),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


@st.composite
def tables(draw: st.DrawFn, rows: list[list[str]]) -> list[list[str]]:
    """Spoil a few cells, rows or columns of a list."""
    table = [list(row) for row in rows]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(table) - 1))
        column = draw(st.integers(0, max(len(table[row]) - 1, 0)))
        how = draw(st.sampled_from(["cell", "cell", "drop", "add", "twice", "delete", "swap", "part"]))
        if how == "cell" and table[row]:
            table[row][column] = draw(odd_cells)
        elif how == "drop":
            del table[row][column : column + 1]
        elif how == "add":
            table[row].insert(column, draw(odd_cells))
        elif how == "twice":
            table.append([draw(st.sampled_from(["train", "validate"])), *table[row][1:]])
        elif how == "delete" and len(table) > 1:
            del table[row]
        elif how == "swap":
            other = draw(st.integers(0, len(table) - 1))
            table[row], table[other] = table[other][:column] + table[row][column:], table[row][:column]
        elif table[row]:
            table[row][column] = table[row][column][: draw(st.integers(0, 30))]
    return table


def write_table(rows: list[list[str]], quote: str) -> str:
    return "".join(",".join(f"{quote}{cell}{quote}" for cell in row) + "\n" for row in rows)


ROWS = [
    [split, f"phantom-{d}/phantom-{d}.zarr", "recon-1/em/fibsem-uint8", f"phantom-{d}/phantom-{d}.zarr",
     f"recon-1/labels/groundtruth/crop{n}/[{classes}]"]
    for split, d, n, classes in [
        ("train", 1, 1, "nuc,pm"), ("train", 1, 2, "nuc,pm"), ("validate", 1, 5, "nuc,pm"), ("train", 2, 9, "nuc"),
        ("validate", 2, 11, "pm,nuc,cell"), ("validate", 3, 15, "nuc,pm"),
    ]
]  # fmt: skip


@pytest.fixture(scope="module")
def linked_data(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the datasets of the synthetic volume are found, for lists of its crops next to them."""
    folder = tmp_path_factory.mktemp("lists")
    for dataset in sorted(small_data.glob("phantom-*")):
        (folder / dataset.name).symlink_to(dataset)
    return folder


@settings(max_examples=EXAMPLES, derandomize=True)
@given(
    rows=tables(ROWS),
    quote=st.sampled_from(['"', '"', "", "'"]),
    damage=damages,
    encoding=encodings,
    command=st.sampled_from(["run", "plan", "frequencies", "weights", "init"]),
)
def test_any_list_of_crops_ends_cleanly(
    linked_data: Path,
    shared_store: Path,
    require_clean: RequireClean,
    rows: list[list[str]],
    quote: str,
    damage: tuple[str, float, bytes],
    encoding: tuple[str, str],
    command: str,
) -> None:
    table = linked_data / "mine.csv"
    table.write_bytes(spoil(encode(write_table(rows, quote), *encoding), *damage))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.toml"
        text = "\n".join(LINES).format(data=linked_data, store=shared_store, here=folder)
        file.write_text(text.replace("datasplit.csv", "mine.csv"), encoding="utf-8")
        checked = require_clean("check", file)
        counted = ("--datasplit", table, "--classes", "nuc,pm")
        arguments: dict[str, tuple[object, ...]] = {
            "run": (file,),
            "plan": (file, "--no-measure"),
            "frequencies": counted,
            "weights": counted,
            "init": (Path(folder) / "new.toml", "--datasplit", table, "--preset", "demo"),
        }
        code = require_clean(command, *arguments[command])
        if command == "run":
            assert (checked == BAD_INPUT) == (code == BAD_INPUT), (checked, code)


@pytest.mark.parametrize("command", ["check", "run", "plan"])
@pytest.mark.parametrize("where", ["/", "/dev/null", ".", "nowhere/experiment.toml", "a" * 300, "b/" * 3000])
def test_paths_that_are_no_experiment(command: str, where: str, tmp_path: Path, require_clean: RequireClean) -> None:
    assert require_clean(command, tmp_path / where) == BAD_INPUT


@pytest.mark.parametrize("where", ["/dev", "/dev/null", ".", "nowhere.csv", "a" * 300, "b/" * 3000])
def test_paths_that_are_no_list_of_crops(where: str, tmp_path: Path, require_clean: RequireClean) -> None:
    for command in ("frequencies", "weights"):
        assert require_clean(command, "--datasplit", tmp_path / where, "--classes", "nuc") == BAD_INPUT
    assert require_clean("init", tmp_path / "e.toml", "--datasplit", tmp_path / where) == BAD_INPUT
    assert require_clean("init", tmp_path / "e.toml", "--data", tmp_path / where) == BAD_INPUT
    if where != "nowhere.csv":
        assert require_clean("init", tmp_path / where / "e.toml", "--datasplit", tmp_path / "x.csv") == BAD_INPUT


@pytest.mark.parametrize("option", ["--voxel-size", "--validation-fraction", "--classes", "--preset", "--seed"])
@given(value=st.one_of(odd_numbers, odd_characters.filter(lambda text: not text.startswith("-"))))
@settings(max_examples=10, derandomize=True)
def test_options_of_init(option: str, value: str, small_data: Path, command_line: CommandLine) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = command_line("init", Path(folder) / "e.toml", "--data", small_data, f"{option}={value}")
        code, said = done.returncode, done.stderr
        assert code in {CLEAN, BAD_INPUT}, said
        assert "Traceback" not in said
        if code == BAD_INPUT:
            assert "to fix:" in said or "Usage:" in said, said
