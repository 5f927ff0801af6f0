"""Does `counterpoise plan` promise what the verdict keeps? Half-widths and power, planned against simulated.

``python bench/plan_precision.py --out table.md`` makes the table of docs/verdict.md. Scores per run and crop
(pseudo-values) are drawn from the Gaussian model that the plan is about; they go through the functions of
`counterpoise.statistics` that users' runs go through. The last arm is better by just what the plan says is found with
80 % power.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from counterpoise.statistics.inference import compare_pairs, intervals
from counterpoise.statistics.precision import PlannedNoise, plan_precision
from counterpoise.statistics.run_noise import fit_run_noise

ALPHA = 0.05

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
) -> tuple[float, float]:
    """Return the median half-width, and how often the better arm is found."""
    half_widths, found = [], []
    for _ in range(reps):
        z = draw(rng, arms, seeds, crops, noise, gain)
        fit = fit_run_noise(z)
        assert fit is not None
        pairs = compare_pairs(z.mean(-1), z, fit, float(crops), against=0)
        low, high = intervals(pairs, 0, alpha=ALPHA, comparisons=arms - 1)
        half_widths += ((high - low)[1:] / 2).tolist()
        found.append(low[-1] > 0)
    return float(np.median(half_widths)), float(np.mean(found))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1000, help="experiments per line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    head = ["arms", "seeds", "crops", "run sd", "seed share", "crop sd", "run x crop sd", "half-width: planned"]
    head += ["simulated", "found with 80 %: planned", "power there, simulated %"]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    print("\n".join(lines))
    for number, (arms, seeds, crops, noise) in enumerate(CASES):
        plan = plan_precision(noise, arms=arms, seeds=seeds, crops=float(crops))
        rng = np.random.default_rng([options.seed, number])
        half, power = simulate(rng, arms, seeds, crops, noise, plan.detectable, options.reps)
        error = (power * (1 - power) / options.reps) ** 0.5
        lines.append(
            f"| {arms} | {seeds} | {crops} | {noise.run_sd} | {noise.seed_share} | {noise.crop_sd} "
            f"| {noise.run_crop_sd} | {plan.half_width:.4f} | {half:.4f} | {plan.detectable:.4f} "
            f"| {100 * power:.1f} ± {100 * error:.1f} |"
        )
        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
