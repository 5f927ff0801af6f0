"""``[[hypothesis]]``: claims about the arms, written down before the first training; the verdict decides them.

The grammar of a claim, parsed once when the experiment is loaded::

    claim    = arm (">" | "<" | "=" | "!=") arm         both with the same [class], or none
             | arm (">" | ">=" | "<" | "<=") number     Dice, from 0 to 1
             | name "best of" (name {"," name} | "all" | "the data-driven")
    arm      = name ["[" class "]"]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from counterpoise.errors import suggest
from counterpoise.experiment.explain import broken

__all__ = [
    "BestClaim",
    "Claim",
    "Hypothesis",
    "LevelClaim",
    "PairClaim",
    "Term",
    "check_hypotheses",
    "parse_claim",
]

PairRelation = Literal[">", "<", "=", "!="]
LevelRelation = Literal[">", ">=", "<", "<="]
Group = Literal["all", "the data-driven"]
_PAIR_RELATIONS: Final[tuple[PairRelation, ...]] = (">", "<", "=", "!=")
_LEVEL_RELATIONS: Final[tuple[LevelRelation, ...]] = (">", ">=", "<", "<=")
_GROUPS: Final[tuple[Group, ...]] = ("all", "the data-driven")
_NAME = r"[^\W\d]\w*"
_TERM = re.compile(rf"\s*({_NAME})\s*(?:\[([^\[\]]*)\])?\s*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_RELATION = re.compile(r"[<>=!~]+")
_BEST = re.compile(r"best\s+of\b\s*(.*)", re.DOTALL)
_FORMS = "A > B, A < B, A = B, A != B, A >= 0.15, A <= 0.15, or A best of B, C (or: all; the data-driven)"


@dataclass(frozen=True)
class Term:
    """What is spoken of: the mean Dice of an arm, or its Dice of one class."""

    arm: str
    class_name: str | None = None

    def __str__(self) -> str:
        return self.arm if self.class_name is None else f"{self.arm}[{self.class_name}]"


@dataclass(frozen=True)
class PairClaim:
    """Two arms against each other; ``=`` means the same within the margin, ``!=`` a difference to either side."""

    left: Term
    relation: PairRelation
    right: Term

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.right}"


@dataclass(frozen=True)
class LevelClaim:
    """The score of one arm against a number."""

    left: Term
    relation: LevelRelation
    value: float

    def __str__(self) -> str:
        return f"{self.left} {self.relation} {self.value!r}"


@dataclass(frozen=True)
class BestClaim:
    """One arm above all of a group: named ones, or those of the run (``all``, or those that use frequencies)."""

    arm: str
    among: Group | tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.arm} best of {self.among if isinstance(self.among, str) else ', '.join(self.among)}"


Claim = PairClaim | LevelClaim | BestClaim


def parse_claim(text: str) -> Claim:
    """Read a claim; which arms and classes there are is checked later, by :func:`check_hypotheses`.

    Raises
    ------
    PydanticCustomError
        Says what was expected and what was found.

    Examples
    --------
    >>> parse_claim("weight_inv_freq[pm] > weight_uniform[pm]").relation
    '>'
    >>> str(parse_claim("weight_uniform>=.15"))
    'weight_uniform >= 0.15'
    """
    first = _TERM.match(text)
    if first is None:
        raise broken(f"a claim: {_FORMS}", text)
    left, rest = _term(first, text), text[first.end() :]
    if best := _BEST.fullmatch(rest):
        return _parse_best(left, best[1].strip(), text)
    relation = _RELATION.match(rest)
    if relation is None:
        raise broken(f"a relation after {left}: {_FORMS}", text)
    sign, right = relation[0], rest[relation.end() :]
    if _NUMBER.fullmatch(right.strip()):
        return _parse_level(left, sign, right.strip(), text)
    second = _TERM.fullmatch(right)
    if second is None:
        raise broken(
            f"an arm or a number after {sign}", text, remedy="write a claim like weight_manual > weight_uniform"
        )
    return _parse_comparison(left, sign, _term(second, text), text)


def _term(match: re.Match[str], text: str) -> Term:
    arm, class_name = match[1], match[2]
    if class_name is not None and not class_name.strip():
        raise broken("the name of a class between the brackets", text)
    return Term(arm, class_name.strip() if class_name is not None else None)


def _parse_best(left: Term, group: str, text: str) -> BestClaim:
    if left.class_name is not None:
        raise broken(f"{left.arm} without a class: the best of several is judged by mean Dice", text)
    for known in _GROUPS:
        if group == known:
            return BestClaim(left.arm, known)
    names = [name.strip() for name in group.split(",")]
    if not all(re.fullmatch(_NAME, name) for name in names):
        raise broken("after best of: arms with commas between them, or all, or the data-driven", text)
    others = tuple(name for name in names if name != left.arm)
    if len(set(names)) < len(names) or not others:
        raise broken("after best of: other arms, each once", text)
    return BestClaim(left.arm, others)


def _parse_level(left: Term, sign: str, number: str, text: str) -> LevelClaim:
    relation = next((known for known in _LEVEL_RELATIONS if known == sign), None)
    if relation is None:
        raise broken(
            "one of > >= < <= before a number", text, remedy="a score never equals a number exactly: use > or <"
        )
    value = float(number)
    if not 0 <= value <= 1:
        raise broken("a Dice score from 0 to 1", text)
    return LevelClaim(left, relation, value)


def _parse_comparison(left: Term, sign: str, right: Term, text: str) -> PairClaim:
    relation = next((known for known in _PAIR_RELATIONS if known == sign), None)
    if relation is None:
        remedy = "'=' says the same within the margin; >= and <= are for numbers"
        raise broken("one of > < = != between two arms", text, remedy=remedy)
    if left.class_name != right.class_name:
        raise broken("the same class on both sides, or none", text, remedy="scores of two classes cannot be compared")
    if left == right:
        raise broken("two different arms", text)
    return PairClaim(left, relation, right)


def _read_claim(value: Any) -> Claim:
    if isinstance(value, Claim):
        return value
    if not isinstance(value, str):
        raise broken(f"a claim in quotes: {_FORMS}", value)
    return parse_claim(value)


class Hypothesis(BaseModel):
    """``[[hypothesis]]``: what you expect of the arms; the verdict says supported, refuted or undecided."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    claim: Annotated[Claim, PlainValidator(_read_claim), PlainSerializer(str, return_type=str)]
    """A > B, A < B, A = B (same within the margin), A != B, A >= 0.15, A best of B, C (or: all, the data-driven)."""
    because: Annotated[str, Field(max_length=1000)] = ""
    """Why you expect it; shown next to the outcome."""


def check_hypotheses(
    hypotheses: Sequence[Hypothesis], *, arms: Sequence[str], classes: Sequence[str]
) -> PydanticCustomError | None:
    """Find the first claim that names an arm or class nobody knows, or that stands there twice.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        As they stand in the experiment.
    arms : sequence of str
        Names an arm may have: those of the experiment and of all known strategies. An arm that is known and not
        trained is no fault: the claim will not be tested.
    classes : sequence of str
        The experiment's.
    """
    claims = [hypothesis.claim for hypothesis in hypotheses]
    for number, claim in enumerate(claims):
        key = f"hypothesis.{number}.claim"
        for term in _terms(claim):
            if term.arm not in arms:
                rule = "arms in arms.strategies, or known strategies"
                return broken(rule, term.arm, remedy=suggest(term.arm, arms), key=key)
            if term.class_name is not None and term.class_name not in classes:
                remedy = suggest(term.class_name, classes)
                return broken("classes in data.classes", term.class_name, remedy=remedy, key=key)
        if claim in claims[:number]:
            return broken("every claim once", str(claim), remedy="delete one of the two", key=key)
    return None


def _terms(claim: Claim) -> Iterator[Term]:
    if isinstance(claim, PairClaim):
        yield from (claim.left, claim.right)
    elif isinstance(claim, LevelClaim):
        yield claim.left
    else:
        yield Term(claim.arm)
        if not isinstance(claim.among, str):
            yield from map(Term, claim.among)
