"""The combinations of a grid: read from the flags, and those that would be the same training left out."""

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_origin, get_type_hints

from absl import flags

from keras_sare import losses
from keras_sare.utils.choices import check_choice
from keras_sare.utils.error_text import one_line
from trainers.config import AblationConfig, PittsConfig
from trainers.config.flags import parse
from trainers.config.recipes import RECIPES
from trainers.stages.losses import PLACE_SCALES, scale_of

logger = logging.getLogger("keras_sare.ablation")

OWN = {"root": "--root", "output": "--output", "seed": "--seeds", "store": "--output", "resume": "nothing"}
"""Settings of `trainers.pitts` that the ablation gives each run, and what says them here."""


@dataclass(frozen=True, eq=False)
class Combination:
    """A combination of settings.

    Attributes:
        chosen: values as the user wrote them, by setting of the grid.
        effective: those of them that have an effect.
        config: of its runs, made of these, but for the seed and the folder.
    """

    chosen: Mapping[str, str]
    effective: Mapping[str, str]
    config: PittsConfig

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What is trained: the same for two combinations that differ in nothing that has an effect."""
        return effective_settings(self.config)

    @property
    def name(self) -> str:
        """In words: "loss=triplet, mining=full"."""
        return _told(self.effective) or "as given"

    @property
    def flags(self) -> list[str]:
        """Of `trainers.pitts`."""
        return _flags(self.effective)


@dataclass(frozen=True)
class Grid:
    """What is trained.

    Attributes:
        combinations: that differ, in the order of the grid.
        baseline: the one that the others are tested against.
        common: settings that all combinations share, the dataset's folder too.
        names: of the settings that vary.
    """

    combinations: Sequence[Combination]
    baseline: Combination
    common: Mapping[str, Any]
    names: Sequence[str]


def read_grid(config: AblationConfig) -> Grid:
    """Reads the grid and leaves out what would be trained twice.

    Raises:
        ValueError: settings or values are unknown, or contradict each other; where there are several, each is logged.
    """
    errors: list[str] = []
    values = _values(config.grid, errors)
    common = _common(config, values, errors)
    baseline = _baseline(config.baseline, values, errors)
    stop_at(errors)
    start = [f"--root={config.root}", f"--output={config.output}", *config.passed_on]
    products = [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]
    made = [(one, *_tried(_combination, start, one)) for one in products]
    stop_at(grouped((_told(one), error) for one, _, error in made))
    everything = [combination for _, combination, _ in made if combination]
    kept = _different(everything)
    chosen = next(one for one in everything if one.chosen == baseline)
    return Grid(
        kept,
        next(one for one in kept if one.settings == chosen.settings),
        {"root": config.root, **common},
        list(values),
    )


def effective_settings(config: PittsConfig) -> dict[str, Any]:
    """Settings that a training depends on, by name, as JSON holds them; None for those that have no effect."""
    config = config.completed(RECIPES[config.recipe].given_settings)
    settings = {name: value for name, value in config.recorded().items() if name not in ("recipe", "seed")}
    settings["loss_scale"] = scale_of(config.loss, config.loss_scale, PLACE_SCALES)
    idle: list[str] = []
    loss = losses.get(config.loss)
    idle += [name for name in ("kernel", "temperature") if not hasattr(loss, name)]
    idle += ["negatives", "loss_scale"] if config.batches == "places" else ["images_per_place"]
    if config.whitening == "none":
        idle += ["dim"]
    if config.select == "last":
        idle += ["patience", "keep_untrained"]
    return settings | dict.fromkeys(idle)


def grouped(findings: Iterable[tuple[str, str | None]]) -> list[str]:
    """Errors with the combinations that have them, each error once."""
    by_error: dict[str, list[str]] = {}
    for name, error in findings:
        if error:
            by_error.setdefault(error, []).append(name or "as given")
    return [f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {e}" for e, names in by_error.items()]


def stop_at(errors: Sequence[str]) -> None:
    """Ends the start where anything is wrong; of several errors each is logged.

    Raises:
        ValueError: there is an error.
    """
    if len(errors) == 1:
        raise ValueError(errors[0])
    for error in errors:
        logger.error("%s", error)
    if errors:
        raise ValueError(f"`grid` must hold what trainers.pitts takes: correct the {len(errors)} errors above.")


def _values(grid: Sequence[str], errors: list[str]) -> dict[str, list[str]]:
    """Values by setting; each is one that the setting can have by itself."""
    found: dict[str, list[str]] = {}
    for entry in grid:
        name, _, text = entry.partition("=")
        if not text and not entry.endswith("="):
            errors.append(f"`grid` must be SETTING=VALUE,VALUE. Received: --grid={entry}")
        elif name in OWN:
            errors.append(f"`grid` must not hold {name}, which {OWN[name]} says. Received: --grid={entry}")
        elif name in found:
            errors.append(f"`grid` must hold {name} once, with all of its values. Received: --grid={entry} beside it")
        else:
            found[name] = list(dict.fromkeys(text.split(";" if _is_list(name) else ",")))
            tried = [_tried(parse, PittsConfig, [f"--{name}={value}"])[1] for value in found[name]]
            errors += dict.fromkeys(f"--grid={entry}: {error}" for error in tried if error)
    return found


def _common(config: AblationConfig, values: Mapping[str, Any], errors: list[str]) -> dict[str, Any]:
    """Settings after `--`, as a run records them."""
    try:
        given, rest = parse(PittsConfig, config.passed_on)
    except (flags.Error, ValueError) as error:
        errors.append(f"After --: {one_line(error)}")
        return {}
    errors += [f"After -- there must be flags of trainers.pitts alone. Received: {one!r}" for one in rest]
    for name in given.given:
        if name in OWN:
            errors.append(f"--{name} must not stand after --: {OWN[name]} says it.")
        if name in values:
            errors.append(f"--{name} must not stand after -- where --grid holds {name} too.")
    recorded = given.recorded()
    return {name: recorded[name] for name in sorted(given.given & recorded.keys())}


def _baseline(given: Sequence[str], values: Mapping[str, Sequence[str]], errors: list[str]) -> dict[str, str]:
    chosen = {name: of[0] for name, of in values.items()}
    for entry in given:
        name, _, value = entry.partition("=")
        if value not in values.get(name, ()):
            known = "; ".join(f"{name}={','.join(of)}" for name, of in values.items())
            errors.append(f"`baseline` must be a setting of the grid and one of its values, {known}. Received: {entry}")
        chosen[name] = value
    return chosen


def _combination(start: Sequence[str], chosen: Mapping[str, str]) -> Combination:
    config, _ = parse(PittsConfig, [*start, *_flags(chosen)])
    config.check()
    check_choice("loss", config.loss, sorted(PLACE_SCALES))
    settings = effective_settings(config)
    effective = {
        name: value
        for name, value in chosen.items()
        if settings.get(name, "") is not None or getattr(config, name) is None
    }
    return Combination(chosen, effective, parse(PittsConfig, [*start, *_flags(effective)])[0])


def _flags(chosen: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in chosen.items()]


def _told(chosen: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _different(combinations: Sequence[Combination]) -> list[Combination]:
    kept: list[Combination] = []
    for one in combinations:
        same = next((other for other in kept if other.settings == one.settings), None)
        if same is None:
            kept.append(one)
        else:
            logger.info("Left out: %s, which is the same training as %s", _told(one.chosen), same.name)
    return kept


def _tried(make: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """What is made of arguments, or None and the error."""
    try:
        return make(*arguments), None
    except (flags.Error, ValueError) as error:
        return None, one_line(error)


def _is_list(name: str) -> bool:
    hint = get_type_hints(PittsConfig).get(name)
    return get_origin(hint) is tuple
