"""Does `counterpoise plan` promise what the verdict keeps? Half-widths and power, planned against simulated.

``python bench/plan_precision.py --out table.md`` makes a table of docs/verdict-simulations.md. Scores per run and crop
(pseudo-values) are drawn from the Gaussian model that the plan is about; they go through the functions of
`counterpoise.statistics` that users' runs go through. The last arm is better by just what the plan says is found with
80 % power.
"""

from __future__ import annotations

import numpy as np
from worlds import ALPHA, Telling, percent, table_head, table_row

from counterpoise.statistics.inference import compare_pairs, half_widths
from counterpoise.statistics.precision import PlannedNoise, plan_precision
from counterpoise.statistics.run_noise import fit_run_noise

CASES = [
    (6, 3, 40, PlannedNoise(0.0127)),
    (6, 5, 40, PlannedNoise(0.0127)),
    (6, 8, 40, PlannedNoise(0.0127)),
    (12, 5, 40, PlannedNoise(0.0127)),
    (2, 3, 40, PlannedNoise(0.0127)),
    (6, 5, 40, PlannedNoise(0.0127, seed_share=0.5)),
    (6, 3, 40, PlannedNoise(0.0085, crop_sd=0.02, run_crop_sd=0.03)),
    (6, 5, 40, PlannedNoise(0.0085, crop_sd=0.02, run_crop_sd=0.03)),
    (6, 8, 40, PlannedNoise(0.0085, crop_sd=0.02, run_crop_sd=0.03)),
    (6, 5, 12, PlannedNoise(0.0095, crop_sd=0.03, run_crop_sd=0.03)),
    (6, 5, 12, PlannedNoise(0.0095, run_crop_sd=0.03)),
    (6, 5, 6, PlannedNoise(0.025, crop_sd=0.05, run_crop_sd=0.03)),
]


def draw(rng: np.random.Generator, arms: int, seeds: int, crops: int, noise: PlannedNoise, gain: float) -> np.ndarray:
    """Draw pseudo-values[arm, seed, crop] with exactly the noise that was planned with."""
    shared = noise.run_sd * noise.seed_share**0.5
    own = (noise.run_sd**2 * (1 - noise.seed_share) - noise.run_crop_sd**2 / crops) ** 0.5
    normal = rng.standard_normal
    z = shared * normal((1, seeds, 1)) + own * normal((arms, seeds, 1))
    z = z + noise.crop_sd / 2**0.5 * normal((arms, 1, crops)) + noise.run_crop_sd * normal((arms, seeds, crops))
    z[-1] += gain
    return z


def simulate(
    rng: np.random.Generator, arms: int, seeds: int, crops: int, noise: PlannedNoise, gain: float, reps: int
) -> tuple[float, list[bool]]:
    """Return the median half-width, and in which experiments the better arm is found."""
    widths, found = [], []
    for _ in range(reps):
        z = draw(rng, arms, seeds, crops, noise, gain)
        fit = fit_run_noise(z)
        assert fit is not None
        pairs = compare_pairs(z.mean(-1), z, fit, float(crops), against=0)
        half = half_widths(pairs, ALPHA / (arms - 1))[1:, 0]
        widths += half.tolist()
        found.append(bool(pairs.difference[-1, 0] > half[-1]))
    return float(np.median(widths)), found


def main() -> None:
    """Print the table."""
    telling = Telling(__doc__, reps=1000, quick=20)
    head = ("arms", "seeds", "crops", "run sd", "seed share", "crop sd", "run x crop sd", "half-width: planned")
    telling.say(*table_head(*head, "simulated", "found with 80 %: planned", "power there, simulated %"))
    for number, (arms, seeds, crops, noise) in enumerate(CASES[:2] if telling.is_quick else CASES):
        plan = plan_precision(noise, arms=arms, seeds=seeds, crops=float(crops))
        half, found = simulate(telling.rng(number), arms, seeds, crops, noise, plan.detectable, telling.reps)
        design = (arms, seeds, crops, noise.run_sd, noise.seed_share, noise.crop_sd, noise.run_crop_sd)
        widths = (f"{plan.half_width:.4f}", f"{half:.4f}")
        telling.say(table_row(*design, *widths, f"{plan.detectable:.4f}", percent(found)))
    telling.finish()


if __name__ == "__main__":
    main()
