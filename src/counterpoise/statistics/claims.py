"""Which claims a design can test at all: those about arms that are trained, and classes that are scored.

The same rules hold before training (``counterpoise plan``) and after it (the verdict); docs/verdict.md lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from counterpoise.experiment.hypothesis import BestClaim, Claim, Hypothesis, PairClaim
from counterpoise.statistics.hypothesis_types import Untestable, UntestableKind
from counterpoise.statistics.verdict_types import ClassSupport
from counterpoise.weights import find_strategy, known_strategies

__all__ = ["Contenders", "NotTestedError", "Rivals", "find_untestable", "require_scored"]


class NotTestedError(Exception):
    """A claim that a run cannot decide."""

    def __init__(self, kind: UntestableKind, *names: str, found: int = 0) -> None:
        self.why = Untestable(kind, names, found)
        super().__init__(f"{kind}: {', '.join(names)}")


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
        Others of the group, which have its own weights and are excluded.
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
            raise NotTestedError(UntestableKind.NO_ARM, name)
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
        sharing = (first, second) if one not in (first, second) else (second if one == first else first,)
        raise NotTestedError(UntestableKind.SAME_WEIGHTS, *sharing, one)

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
            raise NotTestedError(UntestableKind.NO_RIVAL)
        return Rivals(trained, named, tuple(name for name in same if name != claim.arm))

    def _group(self, claim: BestClaim) -> tuple[str, ...]:
        if not isinstance(claim.among, str):
            return claim.among
        return tuple(name for name in (*self.arms, *self.copies) if claim.among == "all" or _is_data_driven(name))

    def _origin(self, name: str) -> str:
        """Return the arm whose weights these are."""
        return self.copies.get(name) or self.controls.get(name) or name


def require_scored(class_name: str, support: Sequence[ClassSupport]) -> ClassSupport:
    """Return what the score of a class rests on.

    Raises
    ------
    NotTestedError
        If the run does not have the class, or does not score it.
    """
    found = next((entry for entry in support if entry.name == class_name), None)
    if found is None:
        raise NotTestedError(UntestableKind.NO_CLASS, class_name)
    if not found.scored:
        raise NotTestedError(UntestableKind.NOT_SCORED, class_name, found=found.positive_crops)
    return found


def find_untestable(
    hypotheses: Sequence[Hypothesis], contenders: Contenders, support: Sequence[ClassSupport]
) -> tuple[tuple[str, Untestable], ...]:
    """List the claims that cannot be tested, whatever the runs will show, and why.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        As the experiment states them.
    contenders : Contenders
        The planned arms.
    support : sequence of ClassSupport
        Which classes will be scored.

    Returns
    -------
    tuple of (str, Untestable)
        Claim and reason, in the order given.
    """
    found = []
    for hypothesis in hypotheses:
        try:
            _require_testable(hypothesis.claim, contenders, support)
        except NotTestedError as error:
            found.append((str(hypothesis.claim), error.why))
    return tuple(found)


def _require_testable(claim: Claim, contenders: Contenders, support: Sequence[ClassSupport]) -> None:
    if isinstance(claim, BestClaim):
        contenders.rivals(claim)
        return
    contenders.trained(claim.left.arm)
    if isinstance(claim, PairClaim):
        contenders.trained(claim.right.arm)
        contenders.refuse_one_experiment(claim.left.arm, claim.right.arm)
    if claim.left.class_name is not None:
        require_scored(claim.left.class_name, support)


def _is_data_driven(name: str) -> bool:
    """Tell whether an arm's weights follow from frequencies; a function of the user's own is made for that."""
    return name not in known_strategies() or find_strategy(name).uses_frequencies
