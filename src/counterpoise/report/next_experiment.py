"""The next experiment: a run's configuration with the recommended weights in it, as a file that can be run."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from counterpoise.errors import RunFolderError
from counterpoise.experiment.arms import SAME_SPREAD, log_ratio_spread
from counterpoise.experiment.config import ArmsConfig, Experiment
from counterpoise.experiment.hypothesis import Hypothesis
from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.template import as_toml
from counterpoise.report.blocks import verdict_lines
from counterpoise.report.recommend import Choice
from counterpoise.runs.origin import find_origin
from counterpoise.runs.read import Run, Unreadable

__all__ = ["NextExperiment", "plan_confirmation", "plan_next"]

MANUAL = "weight_manual"
"""The arm whose weights stand in the file."""

UNIFORM = "weight_uniform"


@dataclass(frozen=True)
class NextExperiment:
    """An experiment, its text, and what its reader should know.

    Parameters
    ----------
    experiment : Experiment
        Relative paths start at the folder it was planned for.
    text : str
        ``best.toml``: reads back to the same experiment.
    notes : tuple of str
        What to look at before it is run; empty if nothing.
    """

    experiment: Experiment
    text: str
    notes: tuple[str, ...]


def plan_next(choice: Choice, folder: Path) -> NextExperiment:
    """Make the experiment that goes on from a choice.

    Everything is as in the run but the arms: the chosen weights, as fixed numbers under ``arms.manual_weights``,
    against the run's baseline, which stays the baseline: the weights have to show once more that they help. If the
    verdict chose them, that is the one hypothesis. The seeds are new, so that what was chosen for its luck does not
    keep it; so is the run folder. If the baseline itself was chosen, it is the only arm.

    Parameters
    ----------
    choice : Choice
        The arm.
    folder : Path
        Where the file will lie; relative paths start there.
    """
    arms = _arms(choice)
    claim = None if choice.by_hand or len(arms.strategies) == 1 else "recommended these weights"
    return _plan(choice, folder, arms, claim, _header(choice, arms), file="best.toml", suffix="best")


def plan_confirmation(choice: Choice, folder: Path, seeds: int | None = None) -> NextExperiment:
    """Make the experiment that tries a choice once more: the same two arms, on seeds that nobody has seen.

    Its one hypothesis is that the chosen arm beats the baseline. A fixed number of seeds, one comparison, one look.

    Parameters
    ----------
    choice : Choice
        An arm that is not the baseline.
    folder : Path
        Where the file will lie; relative paths start there.
    seeds : int, optional
        How many; as many as the run had at most if left out.

    Raises
    ------
    RunFolderError
        If the choice is the baseline itself, or has its weights.
    """
    record = choice.run.plan
    baseline, chosen = _strategy_of(choice, record.baseline), _strategy_of(choice, choice.arm.name)
    if _is_baseline(choice):
        raise RunFolderError(
            f"{choice.run.folder.path} leaves nothing to confirm",
            expected=f"an arm that beats {record.baseline}",
            found=choice.sentence,
            remedy="name an arm with --arm to try it against the baseline on fresh seeds",
        )
    arms = choice.experiment.arms.model_copy(
        update=_FIXED | {"strategies": (baseline, chosen), "baseline": baseline, "seeds": _fresh_seeds(choice, seeds)}
    )
    claim = "left it open, and it was chosen by hand" if choice.by_hand else "said so"
    return _plan(choice, folder, arms, claim, _confirmation_header(choice), file="confirm.toml", suffix="confirm")


_FIXED = {"design": "fixed", "looks": "auto", "duplicates": "once"}


def _plan(
    choice: Choice,
    folder: Path,
    arms: ArmsConfig,
    claim: str | None,
    header: Iterable[str],
    *,
    file: str,
    suffix: str,
) -> NextExperiment:
    here = folder.resolve()
    origin, notes = _find_origin(choice)
    before = choice.experiment
    data = before.data.model_copy(
        update={
            "datasplit": _rebase(before.data.datasplit, origin, here),
            "root": str(_rebase(Path(before.data.root), origin, here)) if before.data.root else "",
            "store": _rebase(before.data.store, origin, here),
        }
    )
    experiment = before.model_copy(
        update={
            "data": data,
            "training": before.training.model_copy(update={"batch_size": choice.config.training.batch_size}),
            "arms": arms,
            "hypothesis": () if claim is None else _hypothesis(choice, arms, claim),
            "run": before.run.model_copy(update={"folder": _new_run_folder(choice.run, here, suffix)}),
        }
    )
    notes += tuple(_own_modules(experiment, origin))
    text = as_toml(experiment, header="\n".join(map(_printable, header))) + "\n" + _appendix(choice)
    return NextExperiment(parse_experiment(text, name=file), text, notes)


def _is_baseline(choice: Choice) -> bool:
    """Whether the chosen weights are the baseline's."""
    record, weights = choice.run.plan, {name: float(choice.arm.weights[name]) for name in choice.run.plan.classes}
    return any(
        arm.name == record.baseline and log_ratio_spread(weights, arm.weights) < SAME_SPREAD for arm in record.arms
    )


def _fresh_seeds(choice: Choice, number: int | None = None) -> tuple[int, ...]:
    """Return seeds that no arm of the run was trained with."""
    record = choice.run.plan
    used = {seed for arm in record.trained for seed in record.seeds_of(arm.name)}
    fresh = (seed for seed in itertools.count() if seed not in used)
    wanted = number or max(len(record.seeds), choice.verdict.settings.min_seeds)
    return tuple(itertools.islice(fresh, wanted))


def _arms(choice: Choice) -> ArmsConfig:
    before, record = choice.experiment.arms, choice.run.plan
    weights = {name: float(choice.arm.weights[name]) for name in record.classes}
    # A name that means these weights wherever it is read, else the numbers; weight_manual is theirs if it is free.
    baseline, chosen = _strategy_of(choice, record.baseline), _strategy_of(choice, choice.arm.name)
    manual = dict(before.manual_weights)
    if chosen not in {UNIFORM, MANUAL} and baseline != MANUAL:
        chosen = MANUAL
    if chosen == MANUAL:
        manual = weights
    same = _is_baseline(choice)
    return before.model_copy(
        update=_FIXED
        | {
            "strategies": (chosen,) if same else (baseline, chosen),
            "baseline": chosen if same else baseline,
            "seeds": _fresh_seeds(choice),
            "manual_weights": manual if MANUAL in {chosen, baseline} else {},
        }
    )


def _strategy_of(choice: Choice, arm: str) -> str:
    """Find how the experiment names the strategy of an arm."""
    strategies = choice.experiment.arms.strategies
    found = next((name for name in strategies if _arm_of(name) == arm), None)
    if found is None:
        raise RunFolderError(
            f"{choice.run.folder.config} is not the experiment of this run",
            expected=f"{arm} among its strategies, as in {choice.run.folder.weights.name}",
            found=", ".join(strategies),
            remedy="run the experiment again: it writes both files again and trains nothing twice",
        )
    return found


def _arm_of(strategy: str) -> str:
    """Name the arm of a strategy: that of ``module:function`` is called like the function."""
    return strategy.rpartition(":")[2]


def _hypothesis(choice: Choice, arms: ArmsConfig, why: str) -> tuple[Hypothesis, ...]:
    """Claim that the chosen arm beats the baseline."""
    baseline, chosen = (_arm_of(name) for name in arms.strategies)
    because = f"the verdict on {_printable(choice.run.name)} {why}"
    return (Hypothesis.model_validate({"claim": f"{chosen} > {baseline}", "because": because}),)


def _find_origin(choice: Choice) -> tuple[Path | None, tuple[str, ...]]:
    """Find the folder at which the experiment's relative paths start, and note if the list of crops is not there."""
    run, wanted = choice.run, choice.experiment.data.datasplit
    if wanted.is_absolute() and choice.experiment.data.store.is_absolute():
        return None, () if wanted.is_file() else (_missing(wanted),)
    environment = {} if isinstance(run.environment, Unreadable) else run.environment
    origin = find_origin(run.folder, choice.experiment, store=choice.config.store, environment=environment)
    if origin is None:
        return None, (f"where {run.folder.config.name} of the run lay is not known: check the paths under [data]",)
    return origin, () if (origin / wanted).is_file() else (_missing(origin / wanted),)


def _missing(datasplit: Path) -> str:
    return f"there is no list of crops at {os.path.normpath(datasplit)}: set data.datasplit before you run it"


def _rebase(path: Path, origin: Path | None, folder: Path) -> Path:
    """Make a path of the old file right in the new one; an absolute one stays as it is."""
    if path.is_absolute() or origin is None:
        return path
    return Path(os.path.relpath(origin / path, folder))


def _new_run_folder(run: Run, folder: Path, suffix: str) -> Path:
    """Name a free folder: next to the run if the file lies in the run, else next to the file."""
    old = run.folder.path.resolve()
    parent = old.parent if folder == old else folder
    names = itertools.chain(
        [f"{run.name}-{suffix}"], (f"{run.name}-{suffix}-{number}" for number in itertools.count(2))
    )
    free = next(parent / name for name in names if not (parent / name).exists())
    return Path(os.path.relpath(free, folder))


def _own_modules(experiment: Experiment, origin: Path | None) -> Iterator[str]:
    own = [name for name in (experiment.model.name, experiment.loss.type, *experiment.arms.strategies) if ":" in name]
    if own:
        where = f" (before: {origin})" if origin is not None else ""
        yield f"{', '.join(own)} must be found: run it from the folder of the module{where}"


def _header(choice: Choice, arms: ArmsConfig) -> Iterator[str]:
    name = choice.arm.name
    yield (
        f"What the run {choice.run.name} recommends: {name}."
        if not choice.by_hand
        else (f"From the run {choice.run.name}, chosen by hand: {name}.")
    )
    yield f"Verdict: {choice.sentence}"
    yield ""
    yield "This is the next experiment, ready for `counterpoise run`. Everything is as in that run, except:"
    if len(arms.strategies) > 1:
        yield f"  two arms: {arms.baseline}, still the baseline, and {_describe_chosen(choice, arms.strategies[1])};"
    else:
        yield f"  one arm: {_describe_chosen(choice, arms.baseline)} (add others to arms.strategies to compare);"
    yield "  the seeds are new: a score that was chosen for being high should not be trusted twice;"
    yield "  batch_size is the number it was trained with; results go to a new folder."
    yield "Change what you like: more epochs, a wider network, another loss. The verdict in full stands at the end."


def _confirmation_header(choice: Choice) -> Iterator[str]:
    record = choice.run.plan
    yield f"Does {choice.arm.name} beat {record.baseline} once more, on seeds that nobody has seen?"
    yield f"The run {choice.run.name} said: {choice.sentence}"
    yield ""
    yield "Everything is as in that run, except: these two arms, one hypothesis, fresh seeds, all of them trained."


def _describe_chosen(choice: Choice, strategy: str) -> str:
    if strategy != MANUAL or choice.arm.name == MANUAL:
        return strategy
    return f"{MANUAL}, which has the weights of {choice.arm.name} as fixed numbers"


def _appendix(choice: Choice) -> str:
    lines = ["The verdict on that run, as `counterpoise verdict` prints it:", "", *verdict_lines(choice.verdict)]
    return "".join(f"# {_printable(line)}".rstrip() + "\n" for line in lines)


def _printable(line: str) -> str:
    """Make a line that may stand in a comment: TOML forbids control characters there, and names may have some."""
    return "".join(character if character.isprintable() else " " for character in line)
