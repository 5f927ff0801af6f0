"""``experiment.toml`` to a frozen, validated configuration. Defaults are the reference protocol."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from counterpoise.errors import suggest
from counterpoise.experiment.engine import EngineConfig, check_engine
from counterpoise.experiment.explain import broken
from counterpoise.experiment.hypothesis import Hypothesis, check_hypotheses
from counterpoise.experiment.labels import LabelValues
from counterpoise.experiment.limits import Count, NonNegative, Positive, UsablePath, require_possible_patch
from counterpoise.experiment.losses import LossConfig, TverskyOptions
from counterpoise.volumes.encoding import ALL_CLASSES, StatedValues
from counterpoise.weights import CLASSIC, known_strategies

__all__ = [
    "ArmsConfig",
    "DataConfig",
    "EngineConfig",
    "Experiment",
    "LossConfig",
    "ModelConfig",
    "Precision",
    "RunConfig",
    "SamplingConfig",
    "TrainingConfig",
    "ValidationConfig",
    "VerdictConfig",
]

MOST_SEEDS = 1000
"""More is a typing error; a number like 10^12 would fill the memory before anything could complain."""

MOST_CLASSES = 64
"""A label word has a bit for each class, and the longest word has 64."""

FIRST_LOOK = 3
"""Seeds before the first look of a race: with two, the noise is hardly known."""

SEEDS_PER_BLOCK = 2
"""Seeds between two looks of a race: with blocks of one, every seed would wait for its slowest training."""

_SEEDS_RULE = f"a number of seeds from 1 to {MOST_SEEDS}, or a list of different whole numbers"

Precision = Literal["float32", "bfloat16", "float16"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataConfig(_Table):
    """``[data]``: which crops, which classes, at which voxel size (nm; z, y, x)."""

    datasplit: UsablePath
    """List of crops, relative to this file."""
    root: str = ""
    """Folder of the data, for a list of crops made on another machine; empty: the list's paths are right."""
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    """Classes to segment, in the order of the network's outputs."""
    voxel_size_nm: tuple[Positive, Positive, Positive] = (8.0, 8.0, 8.0)
    """Voxel size to train at: z, y, x in nm. Each crop is read at the level that serves it."""
    max_upsampling: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 4.0
    """How many times coarser than voxel_size_nm a crop may be stored on any axis."""
    raw_window: tuple[int, int] | Literal["auto"] = "auto"
    """Stored values that become 0 and 255 where raw has 16 bits; auto: 0.1 % of a volume's lie below, 0.1 % above."""
    allow_overlap: bool = False
    """Whether train and validation crops may share voxels. Scores are too good then, and the report says so."""
    store: UsablePath = Path("counterpoise.store")
    """Where the decoded voxels are kept, relative to this file; shared by all trials."""
    labels: dict[str, LabelValues] = {}
    """What stored values mean, by class ("*": every class): { er = { absent = 0, present = 255, unknown = [] } }."""

    @field_validator("labels")
    @classmethod
    def _of_known_classes(cls, value: dict[str, LabelValues], info: ValidationInfo) -> dict[str, LabelValues]:
        classes: tuple[str, ...] = info.data.get("classes", ())
        for name in value if classes else ():
            if name not in (ALL_CLASSES, *classes):
                rule, remedy = f'classes in data.classes, or "{ALL_CLASSES}"', suggest(name, classes)
                raise broken(rule, name, remedy=remedy, key=f"data.labels.{name}")
        return value

    def stated_values(self) -> dict[str, StatedValues]:
        """Return what is said about the values of each class, as readers of crops take it."""
        return {name: values.stated() for name, values in self.labels.items()}

    @field_validator("raw_window")
    @classmethod
    def _ascends(cls, value: tuple[int, int] | Literal["auto"]) -> tuple[int, int] | Literal["auto"]:
        if value != "auto" and value[0] >= value[1]:
            raise broken("two stored values, the darker one first", list(value))
        return value

    @property
    def root_folder(self) -> Path | None:
        """Return the folder of the data, if one is named."""
        return Path(self.root) if self.root else None


class SamplingConfig(_Table):
    """``[sampling]``: what a training patch is and how it is varied."""

    patch_shape: tuple[Count, Count] = (256, 256)
    """Rows and columns of a patch."""
    slices: Count = 1
    """Sections in (odd; 1 is 2-D, more is 2.5-D); the centre one is predicted."""
    crop_weights: Literal["uniform", "volume", "class_balanced"] = "uniform"
    """Chance of a crop: uniform, by its volume, or class_balanced (a class at random, then a crop that holds it)."""
    mirror: bool = True
    """Mirror patches at random, along rows and columns."""
    transpose: bool = True
    """Swap rows and columns at random."""
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 180.0
    """Turn patches in the plane by a random angle up to this, to either side; 0 for none."""

    @field_validator("slices")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise broken("an odd number: the centre section is the one that is predicted", value)
        return value

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        require_possible_patch(self.patch_shape, self.slices)
        return self


class ModelConfig(_Table):
    """``[model]``: the network."""

    name: str = "unet2d"
    """unet2d, or module:callable for a network of your own."""
    width: Count = 64
    """Channels after the first convolution (64 loads into the CellMap toolbox's UNet_2D)."""
    depth: Annotated[int, Field(ge=1, le=8)] = 4
    """Steps down and up."""

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        module, _, function = value.partition(":")
        if value != "unet2d" and not (module and function):
            raise broken("unet2d, or module:callable", value, remedy=suggest(value, ["unet2d", "module:callable"]))
        return value


class TrainingConfig(_Table):
    """``[training]``: AdamW with a one-cycle schedule stepped every step."""

    epochs: Count = 60
    """Epochs; the network is scored after each."""
    steps_per_epoch: Count = 100
    """Optimiser updates per epoch."""
    batch_size: Count | Literal["auto"] = "auto"
    """Patches per update; auto: by GPU memory (28 for 11 GB, 48 for 24 GB, 64 for 40 GB), 8 on a CPU."""
    learning_rate: Positive = 1e-4
    """Peak learning rate of AdamW."""
    weight_decay: NonNegative = 1e-4
    """Weight decay of AdamW."""
    warmup_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the steps in which the learning rate rises to its peak."""
    gradient_clip: Positive = 1.0
    """Largest gradient norm; longer gradients are scaled down to it."""
    precision: Precision | Literal["auto"] = "auto"
    """auto: bfloat16 or float16 on a GPU, float32 on a CPU."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay per step of the averaged weights that are scored; 0 scores the weights themselves."""
    max_nonfinite_steps: Annotated[int, Field(ge=0)] = 100
    """Steps with a loss or gradient that is not finite before the trial is given up."""


class ValidationConfig(_Table):
    """``[validation]``: the fixed list of tiles every arm, epoch and seed is scored on."""

    tiles_per_crop: Count = 64
    """Most tiles per validation crop, so that a few giant crops do not decide; no class loses all its tiles to it."""
    every_epochs: Count = 1
    """Score after every so many epochs (and always after the last)."""
    example_patches: Annotated[int, Field(ge=0, le=16)] = 4
    """Validation patches shown in the report."""
    boundary: bool = False
    """Whether to count boundaries and centre lines after the last epoch, for surface Dice and clDice."""
    boundary_tolerance_nm: NonNegative | Literal["auto"] = "auto"
    """How far two boundaries may be apart (in a section) and count as one; auto: one voxel."""

    @property
    def tolerance_nm(self) -> float | None:
        """Return the tolerance; None for one voxel."""
        return None if self.boundary_tolerance_nm == "auto" else self.boundary_tolerance_nm


class ArmsConfig(_Table):
    """``[arms]``: the strategies that are compared, and how often each is trained."""

    strategies: Annotated[tuple[str, ...], Field(min_length=1)] = CLASSIC
    """Weighting strategies to compare: names, or module:function for your own."""
    baseline: str = "weight_uniform"
    """The strategy the others are compared to."""
    design: Literal["fixed", "race"] = "fixed"
    """fixed: every arm gets every seed; race: arms that cannot win are dropped, about half of the trainings (docs)."""
    looks: tuple[Annotated[int, Field(ge=2)], ...] | Literal["auto"] = "auto"
    """Of a race: after how many seeds to look; auto: 3, 5, 7, 9, ... and the last."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = (0, 1, 2, 3, 4)
    """How many seeds, or a list of them. Every arm is trained once per seed, with the same patches; a race: at most."""
    duplicates: Literal["once", "run"] = "once"
    """Arms whose weights are the same after scaling: train them once, or run them on purpose."""
    manual_weights: dict[str, NonNegative] = {}
    """Weights of weight_manual, class by class; the reference's own five are known."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, value: Any) -> Any:
        """Read ``seeds = 3`` as seeds 0, 1, 2."""
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= MOST_SEEDS:
                raise broken(_SEEDS_RULE, value)
            return tuple(range(value))
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= len(value) <= MOST_SEEDS or len(set(value)) != len(value):
            raise broken(_SEEDS_RULE, value)
        return value

    @field_validator("strategies")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a misspelt name before any voxel is decoded; ``module:function`` is imported when it is needed."""
        for name in value:
            if ":" not in name and name not in known_strategies():
                rule = "names of strategies, or module:function for your own"
                raise broken(rule, name, remedy=suggest(name, known_strategies()))
        twice = [name for name in value if value.count(name) > 1]
        if twice:
            raise broken("every strategy once", f"{twice[0]} twice", remedy=f"delete one {twice[0]}")
        return value

    @property
    def race_looks(self) -> tuple[int, ...] | None:
        """Return after how many seeds a race looks; None for an experiment of fixed size."""
        if self.design == "fixed":
            return None
        most = len(self.seeds)
        if self.looks != "auto":
            return self.looks
        return (*range(FIRST_LOOK, most, SEEDS_PER_BLOCK), most)

    @model_validator(mode="after")
    def _race_has_looks(self) -> Self:
        most = len(self.seeds)
        if self.design == "fixed":
            if self.looks != "auto":
                rule, remedy = "looks of a race", 'set arms.design = "race", or delete arms.looks'
                raise broken(rule, list(self.looks), remedy=remedy, key="arms.looks")
            return self
        if most <= FIRST_LOOK:
            rule = f"more than {FIRST_LOOK} seeds: a race looks first after {FIRST_LOOK}, and goes on"
            raise broken(rule, most, remedy='set arms.seeds = 9, or arms.design = "fixed"', key="arms.seeds")
        if self.looks != "auto":
            looks = self.looks
            ascending = all(a < b for a, b in itertools.pairwise(looks))
            if not ascending or not looks or looks[0] < FIRST_LOOK or looks[-1] != most:
                rule = f"numbers of seeds, ascending, from {FIRST_LOOK} on, the last of them all seeds ({most})"
                raise broken(rule, list(looks), remedy=f"set arms.looks = [3, {most}]", key="arms.looks")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.baseline not in self.strategies:
            rule, remedy = "one of arms.strategies", suggest(self.baseline, self.strategies)
            raise broken(rule, self.baseline, remedy=remedy, key="arms.baseline")
        return self


class VerdictConfig(_Table):
    """``[verdict]``: what is asked of the runs; decide it before you see them."""

    margin: Positive = 0.01
    """Smallest difference of mean Dice that matters to you."""
    unit: Literal["crop", "data_set"] = "crop"
    """What the answer is to hold for: new crops of the same data sets, or (data_set) new data sets."""
    thresholds: Literal["half", "tuned"] = "half"
    """Present above probability 1/2 (half), or above a threshold tuned on half of the crops (the rest is scored)."""
    allow_unstable: bool = False
    """Whether an arm may be recommended although a training of it diverged."""


class RunConfig(_Table):
    """``[run]``: where results go and how the machine is shared."""

    folder: UsablePath = Path("runs/classic")
    """Where results go, relative to this file."""
    slots: Count | Literal["auto"] = "auto"
    """Trials at the same time; auto: per_gpu for every GPU, or one per core."""
    per_gpu: Count = 1
    """Trials that share a GPU; small networks leave a large one idle half of the time."""
    threads: Count | Literal["auto"] = "auto"
    """Threads per trial; auto: the cores divided by the slots."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """How often a failed trial is started again."""


class Experiment(_Table):
    """One complete experiment. Paths are absolute once it is loaded from a file."""

    preset: str = "classic"
    """Which values to start from: classic (the reference protocol) or demo (a CPU in minutes)."""
    data: DataConfig
    sampling: SamplingConfig = SamplingConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = TverskyOptions()
    training: TrainingConfig = TrainingConfig()
    validation: ValidationConfig = ValidationConfig()
    arms: ArmsConfig = ArmsConfig()
    verdict: VerdictConfig = VerdictConfig()
    run: RunConfig = RunConfig()
    engine: EngineConfig = EngineConfig()
    hypothesis: tuple[Hypothesis, ...] = ()

    @model_validator(mode="after")
    def _network_fits(self) -> Self:
        if self.model.name != "unet2d":
            return self
        shape, halvings = self.sampling.patch_shape, self.model.depth
        if min(shape) < 2**halvings:
            rule = f"{2**halvings} pixels or more on each side: the network halves a patch {halvings} times"
            raise broken(rule, shape, key="sampling.patch_shape")
        if self.training.batch_size == 1 and all(side // 2**halvings == 1 for side in shape):
            rule = (
                "2 or more: at the bottom of the network these patches are one pixel, and batch normalisation needs "
                "more than one value"
            )
            remedy = "raise training.batch_size or sampling.patch_shape, or lower model.depth"
            raise broken(rule, 1, remedy=remedy, key="training.batch_size")
        return self

    @model_validator(mode="after")
    def _manual_weights_have_a_class(self) -> Self:
        for name in self.arms.manual_weights:
            if name not in self.data.classes:
                rule, remedy = "weights of classes in data.classes", suggest(name, self.data.classes)
                raise broken(rule, name, remedy=remedy, key=f"arms.manual_weights.{name}")
        return self

    @model_validator(mode="after")
    def _engine_has_nothing_to_guess(self) -> Self:
        training = self.training
        if fault := check_engine(self.engine, self.run.slots, training.batch_size, training.precision):
            raise fault
        return self

    @model_validator(mode="after")
    def _hypotheses_are_about_known_arms(self) -> Self:
        own = [name.rpartition(":")[2] for name in self.arms.strategies]  # module:function is the arm function
        known = tuple(dict.fromkeys([*own, *known_strategies()]))
        if fault := check_hypotheses(self.hypothesis, arms=known, classes=self.data.classes):
            raise fault
        return self
