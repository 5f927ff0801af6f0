"""Share of wall time in which a trainer on the CPU waits for data, in real training of a small UNet.

Everything is what a trial does: the trainer, its sampler with as many threads as the network, batches of 8 patches of
256 x 256 with any rotation. The sampler adds up the seconds in which the trainer asked for a batch that was not ready.
With one thread there is no core to prepare the next batch on: then the wait is the gathering itself. ``--data`` (or
``COUNTERPOISE_DATA``) names a folder with the public data set ``vnc``, which is trained on too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from decoding import request_for
from made_crops import write_crops
from measuring import CLASSES, Row, median, options, report, scratch
from trials import trial_config

from counterpoise.sampling.sampler import Sampler
from counterpoise.store import StoreRequest, VoxelStore, open_or_build
from counterpoise.training.device import keep_freed_memory, open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.placement import PatchReach

AIM = 0.02
VNC_CLASSES = ("mito", "pm", "synapse", "ecs", "cyto")
VNC_NM = (50.0, 9.2, 9.2)


def measure(store: VoxelStore, name: str, *, width: int, side: int, steps: int, threads: int, repeats: int) -> Row:
    """Train some epochs and take the median share of their time that was waiting."""
    prepare_torch(0, threads=threads)
    config = trial_config(store, width=width, depth=3, side=side, batch_size=8, steps=steps)
    sampler = Sampler(store, "train", config.sampling, threads=threads)
    trainer = Trainer(config, sampler, open_device("cpu", "float32"))
    trainer.train_epoch(1, lambda *_: None)  # compile, and touch the files
    outcomes = []
    for number in range(2, repeats + 2):
        outcome = trainer_epoch(trainer, number)
        outcomes.append(outcome)
        print(f"  {name}, {threads} threads: {outcome[0]:.2f} s, waited {outcome[1]:.4f} s", file=sys.stderr)
    sampler.close()
    share = median([waited / seconds for seconds, waited in outcomes])
    rate = median([steps * 8 / seconds for seconds, _ in outcomes])
    return Row(
        f"trainer waits for data: {name}, UNet of width {width}, {threads} thread{'s' * (threads > 1)}",
        f"{100 * share:.2f} % of wall time",
        f"{rate:.1f} patches/s trained",
        "",
        f"< {100 * AIM:.0f} %",
        share < AIM,
        {"seconds_and_waited": outcomes},
    )


def trainer_epoch(trainer: Trainer, number: int) -> tuple[float, float]:
    """Train the next epoch, whose first batch was prepared in the last one; the learning rates begin anew."""
    trainer._schedule.last_epoch = 0  # noqa: SLF001 - more epochs than were configured
    outcome = trainer.train_epoch(number, lambda *_: None)
    return outcome.seconds, outcome.data_wait_s


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--side", type=int, default=256, help="of a patch")
    parser.add_argument("--steps", type=int, default=20, help="per epoch")
    parser.add_argument("--data", default=os.environ.get("COUNTERPOISE_DATA"), help="folder that holds vnc/")
    given = parser.parse_args()
    keep_freed_memory()
    stores = {"made crops": request_for(load_crops(write_crops(given.crops, crops=60, side=200, margin=92), CLASSES))}
    vnc = Path(given.data or "", "vnc", "datasplit.csv")
    if given.data and vnc.exists():
        reach = PatchReach((given.side * 9.2, given.side * 9.2), stack_nm=0.0, rotation_degrees=180.0, transpose=True)
        stores["vnc"] = StoreRequest(load_crops(vnc, VNC_CLASSES), VNC_NM, reach, max_upsampling=4.0)
    rows = []
    for name, request in stores.items():
        with scratch() as folder:
            store = open_or_build(request, Path(folder), workers=2)
            how = {"width": given.width, "side": given.side, "steps": given.steps, "repeats": given.repeats}
            rows += [
                measure(store, name, threads=threads, **how) for threads in sorted({1, len(os.sched_getaffinity(0))})
            ]
    report(rows, given.out)


if __name__ == "__main__":
    main()
