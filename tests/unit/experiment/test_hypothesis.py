"""Claims are parsed once, or refused with what was expected, what was found, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import ConfigError
from counterpoise.experiment.hypothesis import (
    BestClaim,
    Claim,
    Hypothesis,
    LevelClaim,
    PairClaim,
    Term,
    parse_claim,
)
from counterpoise.experiment.load import known_presets, load_experiment, parse_experiment
from counterpoise.experiment.locate import find_line
from counterpoise.experiment.template import as_markdown, as_toml
from counterpoise.weights import CLASSIC, find_strategy

# Four lines; what a test adds begins in line 5.
LEAST = '# mine\n[data]\ndatasplit = "split.csv"\nclasses = ["nuc", "golgi_mem"]\n'


def error_of(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(text, name="mine.toml")
    return caught.value


def error_of_claim(claim: str) -> ConfigError:
    return error_of(f"{LEAST}[[hypothesis]]\nclaim = '{claim}'\n")


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("a > b", PairClaim(Term("a"), ">", Term("b"))),
        ("a<b", PairClaim(Term("a"), "<", Term("b"))),
        ("  a =  b ", PairClaim(Term("a"), "=", Term("b"))),
        ("a != b", PairClaim(Term("a"), "!=", Term("b"))),
        ("a[pm] > b[pm]", PairClaim(Term("a", "pm"), ">", Term("b", "pm"))),
        ("a [ er mem ]>b[er mem]", PairClaim(Term("a", "er mem"), ">", Term("b", "er mem"))),
        ("a >= 0.15", LevelClaim(Term("a"), ">=", 0.15)),
        ("a[pm]<=.5", LevelClaim(Term("a", "pm"), "<=", 0.5)),
        ("a < 1", LevelClaim(Term("a"), "<", 1.0)),
        ("a > 1e-2", LevelClaim(Term("a"), ">", 0.01)),
        ("a best of b", BestClaim("a", ("b",))),
        ("a  best  of b,c ,d", BestClaim("a", ("b", "c", "d"))),
        ("a best of a, b", BestClaim("a", ("b",))),
        ("a best of all", BestClaim("a", "all")),
        ("a best of the data-driven", BestClaim("a", "the data-driven")),
        ("best > of", PairClaim(Term("best"), ">", Term("of"))),
    ],
)
def test_every_form_of_a_claim_is_read(text: str, claim: Claim) -> None:
    assert parse_claim(text) == claim


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
terms = st.builds(Term, names)
claims = st.one_of(
    st.builds(PairClaim, terms, st.sampled_from([">", "<", "=", "!="]), terms).filter(lambda c: c.left != c.right),
    st.builds(LevelClaim, terms, st.sampled_from([">", ">=", "<", "<="]), st.floats(0, 1)),
    st.builds(BestClaim, names, st.sampled_from(["all", "the data-driven"])),
    st.lists(names, min_size=2, max_size=5, unique=True)
    .filter(lambda n: n[1:] != ["all"])
    .map(lambda n: BestClaim(n[0], tuple(n[1:]))),
)


@given(claims)
def test_what_is_written_reads_back_to_the_same_claim(claim: Claim) -> None:
    assert parse_claim(str(claim)) == claim


@pytest.mark.parametrize(
    ("claim", "expected", "remedy"),
    [
        ("", "a claim: A > B", "docs/configuration.md"),
        ("> weight_uniform", "a claim: A > B", "docs"),
        ("weight_uniform", "a relation after weight_uniform", "docs"),
        ("weight_uniform is best", "a relation after weight_uniform", "docs"),
        ("weight_manual >", "an arm or a number after >", "weight_manual > weight_uniform"),
        ("weight_manual > weight_uniform > weight_inv_freq", "an arm or a number after >", ""),
        ("weight_manual >= weight_uniform", "one of > < = != between two arms", "within the margin"),
        ("weight_manual == weight_uniform", "one of > < = != between two arms", "within the margin"),
        ("weight_manual = 0.5", "one of > >= < <= before a number", "never equals"),
        ("weight_manual >= 15", "a Dice score from 0 to 1", ""),
        ("weight_manual >= -0.1", "a Dice score from 0 to 1", ""),
        ("weight_manual > 15 %", "an arm or a number", ""),
        ("weight_manual > weight_manual", "two different arms", ""),
        ("weight_manual[] > weight_uniform", "a class between the brackets", ""),
        ("weight_manual[nuc] > weight_uniform", "the same class on both sides", "cannot be compared"),
        ("weight_manual[nuc] > weight_manual[golgi_mem]", "the same class on both sides", ""),
        ("weight_manual best of", "arms with commas", ""),
        ("weight_manual best of weight_uniform weight_inv_freq", "arms with commas", ""),
        ("weight_manual best of weight_manual", "other arms, each once", ""),
        ("weight_manual best of weight_uniform, weight_uniform", "other arms, each once", ""),
        ("weight_manual[nuc] best of all", "weight_manual without a class", ""),
        ("weight_manul > weight_uniform", "arms in arms.strategies", "did you mean 'weight_manual'"),
        ("weight_manual > weight_unifrom", "arms in arms.strategies", "did you mean 'weight_uniform'"),
        ("weight_manual best of weight_uniform, weight_invfreq", "arms", "did you mean 'weight_inv_freq'"),
        ("weight_manul best of all", "arms", "did you mean 'weight_manual'"),
        ("weight_manual[golgimem] > 0.2", "classes in data.classes", "did you mean 'golgi_mem'"),
        ("nan >= 0.2", "arms in arms.strategies", "known: weight_uniform"),
    ],
)
def test_a_wrong_claim_says_what_was_expected_and_found(claim: str, expected: str, remedy: str) -> None:
    error = error_of_claim(claim)
    assert error.problem == "mine.toml, line 6: hypothesis.0.claim cannot be used"
    assert expected in error.expected
    assert remedy in error.remedy
    assert error.found.strip('"') in claim


@pytest.mark.parametrize(
    ("lines", "problem", "remedy"),
    [
        ("[[hypothesis]]\nclaims = 'a > b'", "line 6: unknown key 'hypothesis.0.claims'", "did you mean 'claim'"),
        ("[[hypothesis]]\nbecause = 'x'", "line 5: hypothesis.0.claim is not set", "under [[hypothesis]]"),
        ("[[hypothesis]]\nclaim = 3", "line 6: hypothesis.0.claim cannot be used", ""),
        ("[hypothesis]\nclaim = 'a'", "line 5: hypothesis cannot be used", ""),
        (
            "[[hypothesis]]\nclaim = 'weight_manual > 0.1'\n\n[[ hypothesis ]]  # two\nbecause = 'x'\nclaim = 'a > b'",
            "line 10: hypothesis.1.claim cannot be used",
            "known: weight_uniform",
        ),
        (
            "[[hypothesis]]\nclaim = 'weight_manual > 0.1'\n[[hypothesis]]\nclaim = 'weight_manual>.1'",
            "line 8: hypothesis.1.claim cannot be used",
            "delete one of the two",
        ),
        ("[[hypothesis]]\nbecause = 7\nclaim = 'weight_manual > 0.1'", "line 6: hypothesis.0.because", ""),
    ],
)
def test_errors_name_key_and_line_of_their_own_table(lines: str, problem: str, remedy: str) -> None:
    error = error_of(LEAST + lines)
    assert problem in error.problem
    assert remedy in error.remedy


def test_a_misspelt_table_says_how_it_is_written() -> None:
    assert error_of("hypothesis = 3\n" + LEAST).expected == "[[hypothesis]] tables, each with a claim"


def test_a_line_is_found_in_the_right_one_of_several_tables() -> None:
    text = "[[h]]\na = 1\n[x]\nb = 2\n[[h]]\nb = 3\na = 4\n"
    assert [find_line(text, ("h", n, "a")) for n in ("0", "1", "2")] == [2, 7, 1]
    assert find_line(text, ("h", "0", "b")) == 1
    assert find_line(text, ("h", "b")) == 6


def test_arms_may_be_own_functions_and_known_strategies_that_are_not_trained() -> None:
    text = (
        f'{LEAST}[arms]\nstrategies = ["weight_uniform", "my.rules:steep"]\n'
        "[[hypothesis]]\nclaim = 'steep > weight_sqrt_inv'\n"
    )
    (hypothesis,) = parse_experiment(text).hypothesis
    assert hypothesis.claim == PairClaim(Term("steep"), ">", Term("weight_sqrt_inv"))
    assert "did you mean 'steep'" in error_of(text.replace("'steep >", "'stepe >")).remedy


@pytest.mark.parametrize("preset", known_presets())
def test_the_references_six_expectations_come_with_every_preset_of_its_arms(preset: str) -> None:
    e = parse_experiment(f'preset = "{preset}"\n{LEAST}')
    assert [str(h.claim) for h in e.hypothesis] == [
        "weight_uniform >= 0.15",
        "weight_manual > weight_uniform",
        "weight_inv_freq != weight_uniform",
        "weight_sqrt_inv best of the data-driven",
        "weight_log_inv = weight_sqrt_inv",
        "weight_effective_num > weight_uniform",
    ]
    assert all(h.because for h in e.hypothesis)


def test_a_presets_claims_do_not_bind_other_arms_and_classes() -> None:
    e = parse_experiment(f'{LEAST}[arms]\nstrategies = ["weight_uniform", "my:rule"]\n')
    assert len(e.hypothesis) == 6


def test_own_hypotheses_replace_the_presets() -> None:
    e = parse_experiment(LEAST + "[[hypothesis]]\nclaim = 'weight_manual > 0.1'\n")
    assert e.hypothesis == (Hypothesis(claim=parse_claim("weight_manual > 0.1")),)
    assert parse_experiment("hypothesis = []\n" + LEAST).hypothesis == ()


@pytest.mark.parametrize(
    "own",
    [
        "",
        "hypothesis = []\n",
        (
            "[[hypothesis]]\nclaim = 'weight_manual > 0.1'\n[[hypothesis]]\nclaim = 'weight_manual[nuc] < 0.9'\n"
            'because = """\nlines, "quotes" and \\u0007"""\n'
        ),
    ],
)
def test_the_commented_file_keeps_hypotheses_and_swallows_nothing(own: str) -> None:
    e = parse_experiment(f"{own}{LEAST}" if own.startswith("h") else f"{LEAST}{own}")
    written = as_toml(e, header="mine")
    assert parse_experiment(written) == e
    assert "# [[hypothesis]], as many as you like:" in written
    assert written.count("\n[[hypothesis]]\n") == len(e.hypothesis)


def test_the_list_of_keys_has_them() -> None:
    page = as_markdown()
    assert "## `[[hypothesis]]`" in page
    assert "| `claim` | (must be set) | A > B" in page
    assert (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8").count("`claim`") == 1


def test_a_loaded_file_keeps_its_hypotheses(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(LEAST + "[[hypothesis]]\nclaim = 'weight_manual > 0.1'\n", encoding="utf-8")
    assert [str(h.claim) for h in load_experiment(file).hypothesis] == ["weight_manual > 0.1"]


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from([*CLASSIC, "[nuc]", ">", "=", "!=", "<=", " best of ", "all", ",", "0.1", "the data-driven"]),
        max_size=6,
    ).map(" ".join)
)
def test_any_text_is_a_claim_that_reads_back_or_an_error(text: str) -> None:
    quoted = text.encode("unicode_escape").decode().replace('"', "'").replace("\\x", "\\u00").replace("\\'", "'")
    try:
        e = parse_experiment(f'{LEAST}[[hypothesis]]\nclaim = "{quoted}"\n')
    except ConfigError:
        return
    assert parse_experiment(as_toml(e, header="again")) == e


def test_the_classic_rules_that_look_at_frequencies_are_known() -> None:
    driven = [name for name in CLASSIC if find_strategy(name).uses_frequencies]
    assert driven == ["weight_inv_freq", "weight_sqrt_inv", "weight_log_inv", "weight_effective_num"]
