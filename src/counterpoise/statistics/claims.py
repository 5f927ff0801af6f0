"""Which claims a design can test at all: those about arms that are trained, and classes that are scored.

The same rules hold before training (``counterpoise plan``) and after it (the verdict); docs/verdict.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from counterpoise.experiment.hypothesis import BestClaim, Claim, Hypothesis, PairClaim
from counterpoise.statistics.verdict_types import ClassSupport
from counterpoise.weights import find_strategy, known_strategies

__all__ = ["Contenders", "NotTestedError", "Rivals", "find_untestable", "require_scored"]


class NotTestedError(Exception):
    """A claim that a run cannot decide; the text says why."""


@dataclass(frozen=True)
class Rivals:
    """The group that an arm is to be the best of.

    Parameters
    ----------
    trained : tuple of str
        Arms to compare it with.
    named : tuple of str
        Those of the group that they stand for.
    same : tuple of str
        Others of the group, which have its own weights and are left out.
    """

    trained: tuple[str, ...]
    named: tuple[str, ...]
    same: tuple[str, ...]


@dataclass(frozen=True)
class Contenders:
    """The arms that claims may speak of.

    Parameters
    ----------
    arms : tuple of str
        Those that are trained.
    copies : mapping
        Arm that is not trained, because it has the weights of another, to that other.
    controls : mapping
        Arm that is trained on purpose with the weights of another, to that other.
    """

    arms: tuple[str, ...]
    copies: Mapping[str, str] = field(default_factory=dict)
    controls: Mapping[str, str] = field(default_factory=dict)

    def trained(self, name: str) -> str:
        """Find an arm, or the one that is trained in its stead.

        Raises
        ------
        NotTestedError
            If there is none.
        """
        found = self.copies.get(name, name)
        if found not in self.arms:
            raise NotTestedError(f"no arm {name} in this run")
        return found

    def refuse_one_experiment(self, first: str, second: str) -> None:
        """Refuse two names of the same weights.

        Raises
        ------
        NotTestedError
            If they are.
        """
        one, other = self._origin(first), self._origin(second)
        if one != other or first == second:
            return
        who = f"{first} and {second} have" if one not in (first, second) else f"{second if one == first else first} has"
        raise NotTestedError(f"{who} the weights of {one}: nothing to test")

    def rivals(self, claim: BestClaim) -> Rivals:
        """Find what an arm is to be the best of; those not trained (copies) belong to a group, too.

        Raises
        ------
        NotTestedError
            If an arm is not trained, or no other is left.
        """
        self.trained(claim.arm)
        group = self._group(claim)
        same = tuple(name for name in group if self._origin(name) == self._origin(claim.arm))
        named = tuple(name for name in group if name not in same)
        trained = tuple(dict.fromkeys(map(self.trained, named)))
        if not trained:
            for name in same:
                self.refuse_one_experiment(claim.arm, name)
            raise NotTestedError("no other such arm in this run")
        return Rivals(trained, named, tuple(name for name in same if name != claim.arm))

    def _group(self, claim: BestClaim) -> tuple[str, ...]:
        if not isinstance(claim.among, str):
            return claim.among
        return tuple(name for name in (*self.arms, *self.copies) if claim.among == "all" or _is_data_driven(name))

    def _origin(self, name: str) -> str:
        """Return the arm whose weights these are."""
        return self.copies.get(name) or self.controls.get(name) or name


def require_scored(class_name: str, support: Sequence[ClassSupport], clusters: str) -> None:
    """Refuse a class that has no score.

    Raises
    ------
    NotTestedError
        If the run does not have the class, or does not score it.
    """
    found = {entry.name: entry for entry in support}.get(class_name)
    if found is None:
        raise NotTestedError(f"no class {class_name} in this run")
    if not found.scored:
        there = f"it has positives in {found.positive_crops} validation {clusters}"
        raise NotTestedError(f"{class_name} is not scored: {there}")


def find_untestable(
    hypotheses: Sequence[Hypothesis], contenders: Contenders, support: Sequence[ClassSupport], clusters: str
) -> tuple[tuple[str, str], ...]:
    """List the claims that cannot be tested, whatever the runs will show, and why.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        As the experiment states them.
    contenders : Contenders
        The planned arms.
    support : sequence of ClassSupport
        Which classes will be scored.
    clusters : str
        What positives are counted in: crops or data sets.

    Returns
    -------
    tuple of (str, str)
        Claim and reason, in the order given.
    """
    found = []
    for hypothesis in hypotheses:
        try:
            _require_testable(hypothesis.claim, contenders, support, clusters)
        except NotTestedError as reason:
            found.append((str(hypothesis.claim), str(reason)))
    return tuple(found)


def _require_testable(claim: Claim, contenders: Contenders, support: Sequence[ClassSupport], clusters: str) -> None:
    if isinstance(claim, BestClaim):
        contenders.rivals(claim)
        return
    contenders.trained(claim.left.arm)
    if isinstance(claim, PairClaim):
        contenders.trained(claim.right.arm)
        contenders.refuse_one_experiment(claim.left.arm, claim.right.arm)
    if claim.left.class_name is not None:
        require_scored(claim.left.class_name, support, clusters)


def _is_data_driven(name: str) -> bool:
    """Tell whether an arm's weights follow from frequencies; a function of the user's own is made for that."""
    return name not in known_strategies() or find_strategy(name).uses_frequencies
