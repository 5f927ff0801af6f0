"""What a verdict pays for the looks before it: the level of every comparison (docs/verdict.md, looks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from counterpoise.runs.looks import LookRecord
from counterpoise.statistics.counts import CountTable, RunState
from counterpoise.statistics.spending import LookAt, Spent, spend_alpha

__all__ = ["NO_LOOKS", "LookHistory"]

_FEWEST = 2
"""Seeds in common below which nothing is shown of a comparison, so that nothing was seen of it."""


@dataclass(frozen=True)
class LookHistory:
    """The looks before this one, in their order."""

    earlier: tuple[LookRecord, ...] = ()

    def spent(self, table: CountTable, arms: tuple[int, ...], alpha: float) -> Spent:
        """Return what this look costs a claim about some arms of a table.

        Parameters
        ----------
        arms : tuple of int
            One arm, or the two that are compared.
        alpha : float
            Chance of any false claim about them, at any look.
        """
        names = [table.arms[arm] for arm in arms]
        seen = [LookAt(_common(look, names), look.planned) for look in self.earlier]
        now = int(table.finished[list(arms)].all(0).sum())
        lost = sum(any(table.cells[arm][s].state is RunState.DIVERGED for arm in arms) for s in range(len(table.seeds)))
        looks = [*seen, LookAt(now, len(table.seeds) - lost)]  # a seed that diverged will never be in common
        return spend_alpha(tuple(look for look in looks if look.seeds >= _FEWEST), alpha)

    def levels(self, table: CountTable, alpha: float) -> Float[np.ndarray, "arm arm"]:
        """Return the level of every comparison of two arms, each of which may be wrong with chance alpha."""
        number = len(table.arms)
        levels = np.full((number, number), alpha)
        for i in range(number):
            for j in range(i):
                levels[i, j] = levels[j, i] = self.spent(table, (i, j), alpha).level
        return levels

    def lost_runs(self, table: CountTable) -> tuple[tuple[str, int], ...]:
        """Return the runs (arm and seed) that an earlier look saw and the table has no longer."""
        run = {(arm, seed) for arm, seeds in table.finished_seeds.items() for seed in seeds}
        seen = {(arm, seed) for look in self.earlier for arm, seeds in look.runs.items() for seed in seeds}
        return tuple(sorted(seen - run))


def _common(look: LookRecord, names: Sequence[str]) -> int:
    return len(set.intersection(*(set(look.runs.get(name, ())) for name in names)))


NO_LOOKS = LookHistory()
