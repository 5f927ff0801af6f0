"""Every way to get a configuration wrong ends in one error that names the key and the line."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import known_presets, load_experiment, parse_experiment
from counterpoise.experiment.template import as_toml
from counterpoise.weights import CLASSIC

# Four lines; what a test adds begins in line 5.
LEAST = '# mine\n[data]\ndatasplit = "split.csv"\nclasses = ["nuc", "pm"]\n'


def error_of(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(text, name="mine.toml")
    return caught.value


def test_defaults_are_the_reference_protocol() -> None:
    e = parse_experiment(LEAST)
    assert (e.training.epochs, e.training.steps_per_epoch, e.training.batch_size) == (60, 100, "auto")
    assert (e.training.learning_rate, e.training.weight_decay, e.training.gradient_clip) == (1e-4, 1e-4, 1.0)
    assert e.training.warmup_fraction == 0.05
    assert e.loss.model_dump() == {"type": "tversky", "alpha": 0.6, "beta": 0.4, "smooth": 1e-6}
    assert (e.sampling.patch_shape, e.sampling.slices, e.data.voxel_size_nm) == ((256, 256), 1, (8.0, 8.0, 8.0))
    assert (e.model.name, e.model.width, e.model.depth) == ("unet2d", 64, 4)
    assert e.validation.tiles_per_crop == 64
    assert (e.arms.strategies, e.arms.baseline, e.arms.seeds) == (CLASSIC, "weight_uniform", (0, 1, 2, 3, 4))


@pytest.mark.parametrize("preset", known_presets())
def test_presets_load_and_what_one_sets_goes_over_them(preset: str) -> None:
    text = f'preset = "{preset}"\n{LEAST}[training]\nepochs = 7\n[arms]\nseeds = [4, 2]\ndesign = "fixed"\n'
    e = parse_experiment(text)
    assert (e.preset, e.training.epochs, e.arms.seeds, e.arms.strategies) == (preset, 7, (4, 2), CLASSIC)
    if preset == "demo":
        assert e.model.width < 64
        assert e.training.steps_per_epoch < 100


def test_a_whole_number_of_seeds_is_that_many_from_zero() -> None:
    assert parse_experiment(LEAST + "[arms]\nseeds = 4\n").arms.seeds == (0, 1, 2, 3)


def test_whole_numbers_do_for_any_number() -> None:
    text = LEAST + "voxel_size_nm = [30, 4, 4]\n[loss]\nalpha = 1\n"
    assert parse_experiment(text).data.voxel_size_nm == (30.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("lines", "line", "key", "hint"),
    [
        ("[training]\nepoch = 3", 6, "training.epoch", "did you mean 'epochs'"),
        ("[traning]\nepochs = 3", 5, "traning", "did you mean 'training'"),
        ("voxel_sise_nm = [8, 8, 8]", 5, "data.voxel_sise_nm", "did you mean 'voxel_size_nm'"),
        ("[arms]\n\nbase_line = 'weight_uniform'", 7, "arms.base_line", "did you mean 'baseline'"),
        ('[loss]\nalpha = 0.5\n"gamma" = 2', 7, "loss.gamma", "known: type, alpha, beta, smooth"),
    ],
)
def test_an_unknown_key_suggests_the_right_one(lines: str, line: int, key: str, hint: str) -> None:
    error = error_of(LEAST + lines)
    assert error.problem == f"mine.toml, line {line}: unknown key {key!r}"
    assert hint in error.remedy


@pytest.mark.parametrize(
    ("lines", "line", "key"),
    [
        # wrong types: nothing is converted silently
        ("[training]\nepochs = '5'", 6, "training.epochs"),
        ("[training]\nepochs = true", 6, "training.epochs"),
        ("[training]\nepochs = 5.5", 6, "training.epochs"),
        ("[training]\nlearning_rate = 'fast'", 6, "training.learning_rate"),
        ("[training]\nbatch_size = 'many'", 6, "training.batch_size"),
        ("[training]\nprecision = 'float8'", 6, "training.precision"),
        ("[sampling]\nmirror = 1", 6, "sampling.mirror"),
        ("[sampling]\nmirror = 'yes'", 6, "sampling.mirror"),
        ("[run]\nfolder = 3", 6, "run.folder"),
        ("[run]\nslots = 'some'", 6, "run.slots"),
        ("[arms]\nstrategies = 'weight_uniform'", 6, "arms.strategies"),
        ("[arms]\nseeds = true", 6, "arms.seeds"),
        ("[arms]\nseeds = 1979-05-27", 6, "arms.seeds"),
        ("[[loss]]\nalpha = 0.6", 5, "loss"),
        ("[sampling]\npatch_shape = [64]", 6, "sampling.patch_shape"),
        ("[sampling]\npatch_shape = [64, 64, 64]", 6, "sampling.patch_shape"),
        # impossible values
        ("voxel_size_nm = [8, 8, 0]", 5, "data.voxel_size_nm"),
        ("voxel_size_nm = [8, 8, -8]", 5, "data.voxel_size_nm"),
        ("voxel_size_nm = [8, 8, inf]", 5, "data.voxel_size_nm"),
        ("max_upsampling = 0.5", 5, "data.max_upsampling"),
        ("[sampling]\nslices = 4", 6, "sampling.slices"),
        ("[sampling]\nslices = 0", 6, "sampling.slices"),
        ("[sampling]\nrotation_degrees = 181", 6, "sampling.rotation_degrees"),
        ("[sampling]\nrotation_degrees = nan", 6, "sampling.rotation_degrees"),
        ("[sampling]\ncrop_weights = 'size'", 6, "sampling.crop_weights"),
        ("[sampling]\n# eight\npatch_shape = [8, 64]", 7, "sampling.patch_shape"),
        ("[model]\nname = 'unet3d'", 6, "model.name"),
        ("[model]\ndepth = 9", 6, "model.depth"),
        ("[loss]\nalpha = nan", 6, "loss.alpha"),
        ("[loss]\nsmooth = 0", 6, "loss.smooth"),
        ("[training]\nwarmup_fraction = 1.0", 6, "training.warmup_fraction"),
        ("[training]\nema_decay = 1.0", 6, "training.ema_decay"),
        ("[validation]\ntiles_per_crop = 0", 6, "validation.tiles_per_crop"),
        ("[arms]\nseeds = 0", 6, "arms.seeds"),
        ("[arms]\nseeds = -1", 6, "arms.seeds"),
        ("[arms]\nseeds = [1, 1]", 6, "arms.seeds"),
        ("[arms]\nseeds = [-1]", 6, "arms.seeds"),
        ("[arms]\nseeds = 1000000000000", 6, "arms.seeds"),
        ("[arms]\nstrategies = []", 6, "arms.strategies"),
        ("[arms]\nstrategies = ['weight_uniform', 'weight_inv_frq']", 6, "arms.strategies"),
        ("[arms]\nstrategies = ['weight_uniform', 'weight_uniform']", 6, "arms.strategies"),
        ("[arms]\nbaseline = 'weight_other'", 6, "arms.baseline"),
        ("[arms]\nmanual_weights = { pm = -1 }", 6, "arms.manual_weights.pm"),
        ("[arms.manual_weights]\nnuc = 1.0\npm = 'high'", 7, "arms.manual_weights.pm"),
        ("[run]\nslots = 0", 6, "run.slots"),
        ("[run]\nretries = 11", 6, "run.retries"),
    ],
)
def test_a_wrong_value_names_key_and_line(lines: str, line: int, key: str) -> None:
    error = error_of(LEAST + lines)
    assert re.match(rf"mine\.toml, line {line}: {re.escape(key)}(\.\d+)? cannot be used$", error.problem), error.problem
    assert all([error.expected, error.found, error.remedy])
    assert "Value error" not in str(error)


def test_each_choice_of_a_union_is_said() -> None:
    error = error_of(LEAST + "[training]\nbatch_size = 'many'")
    assert "integer" in error.expected
    assert "'auto'" in error.expected


def test_a_missing_key_and_a_missing_table_are_named() -> None:
    error = error_of('[data]\nclasses = ["nuc"]\n')
    assert error.problem == "mine.toml, line 1: data.datasplit is not set"
    assert error.remedy == "add datasplit = ... under [data]"
    assert error_of("[loss]\nalpha = 1\n").problem == "mine.toml: data is not set"


def test_several_faults_are_counted_and_the_misspelling_goes_first() -> None:
    error = error_of('[data]\ndata_split = "a"\nclasses = []\n')
    assert error.problem == "mine.toml, line 2: unknown key 'data.data_split' (2 more after this one)"


def test_unknown_presets_list_the_known_ones() -> None:
    error = error_of('preset = "clasic"\n' + LEAST)
    assert error.problem.startswith("mine.toml, line 1")
    assert "did you mean 'classic'" in error.remedy


@pytest.mark.parametrize(
    "text", ["[data", "a = ", "a = 1\na = 2", "\x00", "[data]\n[data]", "a = " + "9" * 5000, "a = " + "[" * 5000]
)
def test_what_is_no_toml_says_so(text: str) -> None:
    assert "not valid TOML" in error_of(text).problem


def test_manual_weights_replace_the_presets_whole() -> None:
    e = parse_experiment(LEAST + "[arms]\nmanual_weights = { nuc = 2, pm = 0 }\n")
    assert e.arms.manual_weights == {"nuc": 2.0, "pm": 0.0}


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my experiment"
    folder.mkdir()
    file = folder / "experiment.toml"
    file.write_text(LEAST + 'store = "/fast/store"\n[run]\nfolder = "../runs/a"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    e = load_experiment(Path("my experiment/experiment.toml"))
    assert e.data.datasplit == folder / "split.csv"
    assert e.data.store == Path("/fast/store")
    assert e.run.folder.resolve() == tmp_path / "runs" / "a"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no experiment at"):
        load_experiment(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    for name in ("latin.toml", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_experiment(tmp_path / name)


keys = st.sampled_from(
    [
        f"{table}.{key}"
        for table, field in Experiment.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    ]
    + ["preset", "data", "arms", "sampling.nothing", "arms.manual_weights.nuc"]
)
values = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(lambda x: repr(x) if math.isfinite(x) else "nan"),
    st.sampled_from(
        ["true", "[]", "{}", "'auto'", "1979-05-27", "07:32:00", "[[1]]", "[1, 'a']", "{ a = 1 }", '"""\n"""']
    ),
    st.text(
        st.characters(codec="ascii", exclude_characters="'\"\\", min_codepoint=32, max_codepoint=126), max_size=9
    ).map(lambda t: f'"{t}"'),
    st.lists(st.sampled_from(["1", "0.5", "-3", "'weight_uniform'", "'x:y'", "64"]), max_size=4).map(
        lambda v: f"[{', '.join(v)}]"
    ),
)


def parses_or_explains(text: str) -> None:
    try:
        e = parse_experiment(text)
    except ConfigError:
        return
    assert parse_experiment(as_toml(e, header="again")) == e


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(keys, values), max_size=4))
def test_any_values_make_an_experiment_or_a_configuration_error(pairs: list[tuple[str, str]]) -> None:
    own = "\n".join(f"{key} = {value}" for key, value in pairs)
    parses_or_explains(f'data.datasplit = "split.csv"\ndata.classes = ["nuc"]\n{own}\n')


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.integers(0, len(LEAST)))
@example("[[data]]", 0)
@example('preset = ["a"]\n', 0)
@example('"pre\\u0073et" = 3\n', 0)
@example("data = 5\n", 0)
def test_any_text_makes_an_experiment_or_a_configuration_error(noise: str, at: int) -> None:
    parses_or_explains(noise)
    parses_or_explains(LEAST[:at] + noise + LEAST[at:])
    parses_or_explains(LEAST[:at])


@pytest.mark.parametrize("preset", known_presets())
def test_the_commented_file_reads_back_to_the_same_experiment(preset: str) -> None:
    text = (
        f'preset = "{preset}"\n'
        '[data]\ndatasplit = "a \\"quoted\\" folder/split\\\\x.csv"\nclasses = ["nuc", "ü \\n"]\n'
        "voxel_size_nm = [5.24, 4, 4]\n"
        '[arms]\nstrategies = ["weight_manual", "my.module:rule"]\nbaseline = "weight_manual"\nseeds = [7]\n'
        'design = "fixed"\n'
        'manual_weights = { nuc = 1.8, "ü \\n" = 0.1 }\n'
        "[training]\nlearning_rate = 3e-5\nbatch_size = 4\n[run]\nslots = 2\n"
    )
    e = parse_experiment(text)
    written = as_toml(e, header="Two lines\n\nof introduction")
    assert parse_experiment(written) == e
    assert written.startswith("# Two lines\n#\n# of introduction\n")
    for table in ("data", "sampling", "model", "loss", "training", "validation", "arms", "run"):
        assert f"[{table}]" in written


def test_a_race_looks_first_after_three_seeds_and_last_at_all_of_them() -> None:
    race = LEAST + '[arms]\ndesign = "race"\n'
    for seeds in range(4, 20):
        looks = parse_experiment(f"{race}seeds = {seeds}\n").arms.race_looks
        assert looks is not None
        assert (looks[0], looks[-1]) == (3, seeds)
        assert list(looks) == sorted(set(looks))
    assert parse_experiment(f"{race}seeds = 8\nlooks = [4, 8]\n").arms.race_looks == (4, 8)
    assert parse_experiment(LEAST).arms.race_looks is None
    assert parse_experiment(LEAST + "[arms]\nseeds = 2\n").arms.race_looks is None


@pytest.mark.parametrize(
    ("lines", "key", "expected", "hint"),
    [
        ("seeds = 3", "arms.seeds", "more than 3 seeds", 'arms.design = "fixed"'),
        ("seeds = 8\nlooks = [2, 8]", "arms.looks", "from 3 on", "arms.looks = [3, 8]"),
        ("seeds = 8\nlooks = [5, 3, 8]", "arms.looks", "ascending", "arms.looks = [3, 8]"),
        ("seeds = 8\nlooks = [3, 3, 8]", "arms.looks", "ascending", "arms.looks = [3, 8]"),
        ("seeds = 8\nlooks = [3, 5]", "arms.looks", "the last of them all seeds (8)", "arms.looks = [3, 8]"),
        ("seeds = 8\nlooks = [3, 9]", "arms.looks", "the last of them all seeds (8)", "arms.looks = [3, 8]"),
        ("seeds = 8\nlooks = []", "arms.looks", "from 3 on", "arms.looks = [3, 8]"),
        ('seeds = 8\ndesign = "fixed"\nlooks = [3, 8]', "arms.looks", "looks of a race", 'arms.design = "race"'),
    ],
)
def test_a_race_that_cannot_be_run_is_refused(lines: str, key: str, expected: str, hint: str) -> None:
    design = "" if "design" in lines else 'design = "race"\n'
    error = error_of(f"{LEAST}[arms]\n{design}{lines}\n")
    assert f"{key} cannot be used" in error.problem
    assert expected in error.expected
    assert hint in error.remedy


def test_looks_are_counted_and_not_planned_any_more() -> None:
    assert "verdict.looks" in error_of(f"{LEAST}[verdict]\nlooks = 2\n").problem
