"""Before training and after it, the same claims cannot be tested, for the same reasons."""

import pytest

from counterpoise.experiment.hypothesis import BestClaim, Hypothesis, parse_claim
from counterpoise.statistics.claims import Contenders, Rivals, find_untestable
from counterpoise.statistics.hypothesis_types import Untestable, UntestableKind
from counterpoise.statistics.verdict_types import ClassSupport

CONTENDERS = Contenders(
    ("weight_uniform", "weight_inv_freq", "weight_manual", "again"),
    copies={"weight_effective_num": "weight_uniform"},
    controls={"again": "weight_uniform"},
)
SAME, NO_LOG_INV = UntestableKind.SAME_WEIGHTS, Untestable(UntestableKind.NO_ARM, ("weight_log_inv",))
SUPPORT = (ClassSupport("nuc", 12, 9.0, scored=True), ClassSupport("golgi", 2, 1.5, scored=False))


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("weight_inv_freq > weight_uniform", None),
        ("weight_inv_freq[nuc] > weight_uniform[nuc]", None),
        ("weight_effective_num >= 0.15", None),  # judged by the runs of weight_uniform
        ("weight_inv_freq best of the data-driven", None),
        ("weight_log_inv > weight_uniform", NO_LOG_INV),
        ("weight_uniform < weight_log_inv", NO_LOG_INV),
        ("weight_log_inv >= 0.15", NO_LOG_INV),
        ("weight_inv_freq best of weight_manual, weight_log_inv", NO_LOG_INV),
        ("again != weight_uniform", Untestable(SAME, ("again", "weight_uniform"))),
        ("again = weight_effective_num", Untestable(SAME, ("again", "weight_effective_num", "weight_uniform"))),
        ("weight_uniform best of weight_effective_num", Untestable(SAME, ("weight_effective_num", "weight_uniform"))),
        ("weight_manual[golgi] > 0.5", Untestable(UntestableKind.NOT_SCORED, ("golgi",), found=2)),
        ("weight_manual[pm] > 0.5", Untestable(UntestableKind.NO_CLASS, ("pm",))),
    ],
)
def test_what_cannot_be_tested_has_a_reason(claim: str, why: Untestable | None) -> None:
    found = find_untestable([Hypothesis(claim=parse_claim(claim))], CONTENDERS, SUPPORT)
    assert found == (() if why is None else ((str(parse_claim(claim)), why),))


def test_alone_among_the_data_driven_there_is_nothing_to_be_better_than() -> None:
    alone = Contenders(("weight_uniform", "weight_inv_freq"))
    claim = Hypothesis(claim=parse_claim("weight_inv_freq best of the data-driven"))
    ((_, why),) = find_untestable([claim], alone, SUPPORT)
    assert why == Untestable(UntestableKind.NO_RIVAL)


def test_a_group_holds_copies_by_the_arm_that_stands_for_them() -> None:
    claim = parse_claim("weight_inv_freq best of all")
    assert isinstance(claim, BestClaim)
    assert CONTENDERS.rivals(claim) == Rivals(
        trained=("weight_uniform", "weight_manual", "again"),
        named=("weight_uniform", "weight_manual", "again", "weight_effective_num"),
        same=(),
    )
    claim = parse_claim("again best of all")
    assert isinstance(claim, BestClaim)
    assert CONTENDERS.rivals(claim).same == ("weight_uniform", "weight_effective_num")
    assert CONTENDERS.rivals(claim).trained == ("weight_inv_freq", "weight_manual")
