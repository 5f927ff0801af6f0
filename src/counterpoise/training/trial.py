"""One trial: one arm with one seed, from its folder's configuration to its folder's results. Resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from counterpoise.errors import DiskFullError, DivergedError, RunFolderError, StoreError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.files.atomic import append_line, remove_leftovers, write_text
from counterpoise.files.lock import Purpose, only_one_process
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.npz import ThresholdCounts, ValidationCounts
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus, read_epochs
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.tiles import TileList, list_tiles
from counterpoise.store import VoxelStore, open_store
from counterpoise.training.boundary import leave_boundaries
from counterpoise.training.checkpoint import load_checkpoint, save_checkpoint
from counterpoise.training.device import Device, keep_freed_memory, open_device
from counterpoise.training.epoch import describe_epoch, make_record
from counterpoise.training.scalars import ScalarWriter
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer
from counterpoise.training.validation import ValidationResult, predict_examples, validate

__all__ = ["run_trial"]

CHECKPOINT_VERSION = 2
_STATUS_INTERVAL_S = 1.0
_PATIENCE_S = 10.0
"""How long to wait for another process in this trial's folder: one whose runner has died ends within seconds."""

Say = Callable[[str], object]
OnStep = Callable[[TrialStatus], object]


def run_trial(
    folder: Path,
    *,
    device: str = "cpu",
    threads: int = 1,
    say: Say = print,
    on_step: OnStep = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrialStatus:
    """Train, validate and record one trial; continue after the last finished epoch if there is one.

    Parameters
    ----------
    folder : Path
        Holds ``trial.toml``; everything the trial leaves goes here.
    device : str
        ``cpu``, ``cuda``, ``cuda:0``, ``mps``.
    threads : int
        Threads of this process.
    say : callable
        Told one line at a time what happens.
    on_step : callable
        Told the status after every step (for a progress bar).
    stop : callable
        Asked after every checkpoint whether to leave it at that.

    Returns
    -------
    TrialStatus
        Finished, or waiting if it was asked to stop. A trial that was finished before is left as it is.

    Raises
    ------
    CounterpoiseError
        With the trial's status set to failed and the reason in it.
    """
    files = TrialFolder(folder)
    open_device(device, TrialConfig.read(files.config).training.precision)  # a slip in the command harms no trial
    with only_one_process(folder, Purpose.TRAIN_TRIAL, patience_s=_PATIENCE_S):
        return _run_trial(files, device, threads, say, on_step, stop)


def _run_trial(
    files: TrialFolder, device: str, threads: int, say: Say, on_step: OnStep, stop: Callable[[], bool]
) -> TrialStatus:
    remove_leftovers(files.path)
    before = TrialStatus.with_counts(files)
    if before.state == "finished":
        say(f"{files.path}: finished before, nothing to do")
        return before
    try:
        with closing(_Trial.open(files, device, threads, say)) as trial:
            return trial.run(on_step, stop)
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt | SystemExit) and files.config.exists():
            reason = getattr(error, "problem", None) or f"{type(error).__name__}: {error}"
            cause = FailureCause.DIVERGED if isinstance(error, DivergedError) else FailureCause.OTHER
            status = TrialStatus.read(files.status).failed(
                cause, reason, error=type(error).__name__, updated=time.time()
            )
            with suppress(OSError):  # on a full disk, the error itself must get through
                status.write(files.status, durable=True)
        raise


@dataclass
class _Progress:
    """What a trial knows about its epochs so far; goes through checkpoints."""

    epoch: int
    best_dice: float
    best_epoch: int


class _Trial:
    """The moving parts of one trial. Built by :meth:`open`, driven by :meth:`run`."""

    def __init__(
        self,
        folder: TrialFolder,
        config: TrialConfig,
        trainer: Trainer,
        training: Sampler,
        validation: Sampler,
        tiles: TileList,
        device: Device,
        say: Say,
    ) -> None:
        self.folder, self.config = folder, config
        self._trainer, self._training, self._validation, self._tiles = trainer, training, validation, tiles
        self._device, self._say = device, say
        self._progress = _Progress(0, -1.0, 0)
        self._records: list[EpochRecord] = []
        self._counts: list[np.ndarray] = []
        self._written = 0.0
        self.status = TrialStatus.read(folder.status)

    @classmethod
    def open(cls, folder: TrialFolder, device_name: str, threads: int, say: Say) -> _Trial:
        """Read the configuration, map the store and build the network."""
        config = TrialConfig.read(folder.config)
        prepare_torch(config.seed, threads=threads)
        device = open_device(device_name, config.training.precision)
        if device.torch.type == "cpu":
            keep_freed_memory()
        store = _open_store(config)
        training = Sampler(store, "train", config.sampling, threads=threads, device=device.torch)
        validation = Sampler(store, "validate", config.sampling, threads=threads, device=device.torch)
        for split, sampler in (("training", training), ("validation", validation)):
            if sampler.placement:
                say(f"Data for {split}: {sampler.placement}")
        tiles = list_tiles(validation.plan, store, cap=config.validation.tiles_per_crop)
        if tiles.hash() != config.tiles_hash:
            raise RunFolderError(
                f"{folder.path} was planned on other validation tiles",
                expected=f"the list with the hash {config.tiles_hash}",
                found=tiles.hash(),
                remedy="start the experiment in a new run folder",
            )
        return cls(folder, config, Trainer(config, training, device), training, validation, tiles, device, say)

    def run(self, on_step: OnStep, stop: Callable[[], bool]) -> TrialStatus:
        """Train the epochs that are left, or those until ``stop`` says so."""
        training = self.config.training
        self._resume()
        started = time.time()
        told = self._records[-1] if self._records else None
        dice = [record.dice_mean for record in self._records if record.dice_mean is not None]
        self.update(
            state="running",
            epoch=self._progress.epoch,
            epochs=training.epochs,
            step=training.steps_per_epoch if self._progress.epoch else 0,
            steps_per_epoch=training.steps_per_epoch,
            train_loss=told.train_loss if told else None,
            dice_mean=dice[-1] if dice else None,
            **self._best(),
            started=started,
            reason="",
            cause=None,
            error="",
        )
        with closing(ScalarWriter(self.folder.path, self._say)) as scalars:
            if told:  # once more: the process may have been killed just before
                scalars.write(told)
            for epoch in range(self._progress.epoch + 1, training.epochs + 1):
                self._epoch(epoch, scalars, on_step)
                if epoch < training.epochs and stop():
                    self.update(state="waiting", reason=f"stopped after epoch {epoch}")
                    self._say(f"Stopped after epoch {epoch}/{training.epochs}; the same command continues")
                    return self.status
        if not ThresholdCounts.is_whole(self.folder.thresholds):
            self._say("Counting by probability again")
            self._score(last=True)
        network, place = self._trainer.averaged.module, self._device
        if line := leave_boundaries(self.folder, network, self._validation, self._tiles, self.config, place):
            self._say(line)
        self._say("Predicting the example patches")
        predict_examples(
            network,
            self._validation,
            self._tiles,
            self.config.classes,
            place,
            count=self.config.validation.example_patches,
        ).write(self.folder.examples)
        self.folder.previous_checkpoint.unlink(missing_ok=True)
        self.update(state="finished")
        self._say(
            f"Done: best Val Dice {self._progress.best_dice:.4f} in epoch {self._progress.best_epoch}, "
            f"{time.time() - started:.0f} s"
        )
        return self.status

    def close(self) -> None:
        """End the threads that prepare batches."""
        self._training.close()
        self._validation.close()

    def update(self, **changes: Any) -> None:
        """Write the status now; on a full disk its progress may be lost, but not its state."""
        self._written = time.time()
        self.status = replace(self.status, updated=self._written, **changes)
        try:
            self.status.write(self.folder.status, durable=changes.get("state") in {"finished", "failed"})
        except DiskFullError:
            if "state" in changes:
                raise

    def _best(self) -> dict[str, Any]:
        progress = self._progress
        return {"best_dice": progress.best_dice if progress.best_epoch else None, "best_epoch": progress.best_epoch}

    def _epoch(self, epoch: int, scalars: ScalarWriter, on_step: OnStep) -> None:
        config = self.config
        began = time.perf_counter()

        def after_step(step: int, loss: float) -> None:
            speed = step * config.training.batch_size / (time.perf_counter() - began)
            values: dict[str, Any] = {"epoch": epoch, "step": step, "patches_per_s": speed}
            if np.isfinite(loss):
                values["train_loss"] = loss
            if time.time() - self._written > _STATUS_INTERVAL_S:
                self.update(**values)
            else:
                self.status = replace(self.status, **values)
            on_step(self.status)

        outcome = self._trainer.train_epoch(epoch, after_step)
        last = epoch == config.training.epochs
        if last or epoch % config.validation.every_epochs == 0:
            validation_began = time.perf_counter()
            result = self._score(last=last)
            record = make_record(epoch, config.classes, outcome, result, time.perf_counter() - validation_began)
            self._counts.append(result.counts)
        else:
            record = make_record(epoch, config.classes, outcome, None, 0.0)
        self._keep(record, scalars)

    def _score(self, *, last: bool) -> ValidationResult:
        config = self.config
        result = validate(
            self._trainer.averaged.module,
            self._validation,
            self._tiles,
            self._trainer.loss,
            self._device,
            batch_size=config.training.batch_size,
            by_probability=last,
        )
        if result.histogram is not None:
            ThresholdCounts(self._tiles.crops, config.classes, result.histogram).write(self.folder.thresholds)
        return result

    def _keep(self, record: EpochRecord, scalars: ScalarWriter) -> None:
        """Write an epoch's results: scores and counts first, the checkpoint that vouches for them last."""
        config, progress = self.config, self._progress
        progress.epoch = record.epoch
        append_line(self.folder.metrics, record.__dict__)
        if self._counts:
            counts = ValidationCounts(self._tiles.crops, config.classes, np.stack(self._counts))
            counts.write(self.folder.counts)
        if record.dice_mean is not None and record.dice_mean > progress.best_dice:
            progress.best_dice, progress.best_epoch = record.dice_mean, record.epoch
            save_checkpoint(self.folder.best_checkpoint, self._weights(record))
        save_checkpoint(
            self.folder.last_checkpoint,
            {
                **self._weights(record),
                "fingerprint": config.fingerprint(),
                "progress": dict(progress.__dict__),
                "trainer": self._trainer.state(),
            },
            previous=self.folder.previous_checkpoint,
        )
        scalars.write(record)
        self.update(
            epoch=record.epoch,
            step=config.training.steps_per_epoch,
            train_loss=record.train_loss,
            dice_mean=record.dice_mean if record.dice_mean is not None else self.status.dice_mean,
            **self._best(),
        )
        for line in describe_epoch(record, config.training.epochs):
            self._say(line)

    def _weights(self, record: EpochRecord) -> dict[str, Any]:
        """Make the part of a checkpoint that another program needs: averaged weights and how to build the network."""
        config = self.config
        return {
            "version": CHECKPOINT_VERSION,
            "arm": config.arm,
            "seed": config.seed,
            "epoch": record.epoch,
            "dice_mean": record.dice_mean,
            "classes": list(config.classes),
            "class_weights": dict(config.class_weights),
            "model": config.model.model_dump(mode="json"),
            "slices": config.sampling.slices,
            "model_state_dict": self._trainer.averaged.module.state_dict(),
        }

    def _resume(self) -> None:
        """Continue after the newest epoch whose checkpoint is whole and whose records are there, else start again."""
        there = [f for f in (self.folder.last_checkpoint, self.folder.previous_checkpoint) if f.exists()]
        for file in there:
            content = load_checkpoint(file)
            ours = (CHECKPOINT_VERSION, self.config.fingerprint())
            if content is None or (content.get("version"), content.get("fingerprint")) != ours:
                self._say(f"{file.name} is damaged, or of another experiment or version")
                continue
            progress = _Progress(**content["progress"])
            records = self._records_until(progress.epoch)
            if records is None:
                self._say(f"Records of the epochs up to {progress.epoch} are missing or damaged")
                continue
            self._trainer.restore(content["trainer"])
            self._progress = progress
            if file != self.folder.last_checkpoint:  # else the next checkpoint would keep the damaged one for a spare
                self.folder.last_checkpoint.unlink(missing_ok=True)
            self._keep_records(*records)
            self._mend_best(content)
            self._say(f"Resuming after epoch {progress.epoch}/{self.config.training.epochs}")
            return
        if there:
            self._say("Nothing to continue from: starting from the beginning")
        self._keep_records([], [])

    def _mend_best(self, resumed: dict[str, Any]) -> None:
        """Make sure that the best epoch's weights are there; they may be those of one of the other checkpoints."""
        file, best_epoch = self.folder.best_checkpoint, self._progress.best_epoch
        best = load_checkpoint(file)
        if not best_epoch or (best is not None and best.get("epoch", 0) >= best_epoch):
            return
        for content in (resumed, load_checkpoint(self.folder.previous_checkpoint)):
            if content is not None and content.get("epoch") == best_epoch:
                own = {"fingerprint", "progress", "trainer"}
                save_checkpoint(file, {key: value for key, value in content.items() if key not in own})
                return
        file.unlink(missing_ok=True)
        self._say(f"{file.name} is damaged: the weights of the best epoch, {best_epoch}, are lost")

    def _records_until(self, epoch: int) -> tuple[list[EpochRecord], list[np.ndarray]] | None:
        """Read records and counts of epochs 1 to ``epoch``; None unless all of them are there."""
        try:
            records = [record for record in read_epochs(self.folder) if record.epoch <= epoch]
            validated = sum(bool(record.counts) for record in records)
            counts = list(ValidationCounts.read(self.folder.counts).counts[:validated]) if validated else []
        except (RunFolderError, OSError, ValueError, KeyError, BadZipFile):
            return None
        whole = [record.epoch for record in records] == list(range(1, epoch + 1)) and len(counts) == validated
        return (records, counts) if whole else None

    def _keep_records(self, records: list[EpochRecord], counts: list[np.ndarray]) -> None:
        """Drop what no checkpoint vouches for: those epochs are trained again."""
        text = "".join(json.dumps(record.__dict__, allow_nan=False) + "\n" for record in records)
        write_text(self.folder.metrics, text)
        self._records, self._counts = records, counts


def _open_store(config: TrialConfig) -> VoxelStore:
    store = open_store(config.store)
    found = store.content_hash()
    if found != config.store_fingerprint:
        raise StoreError(
            f"the voxel store at {config.store} is not the one this trial was planned on",
            expected=f"the content with the hash {config.store_fingerprint[:16]}",
            found=found[:16],
            remedy="run the experiment again: `counterpoise run` plans on the store as it is now",
        )
    return store
