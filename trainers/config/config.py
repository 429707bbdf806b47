"""What all configurations have: which settings were given, and how the others get their values."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, Self

from keras_sare.utils.settings import check_settings

logger = logging.getLogger("keras_sare.config")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a program. Those that are not given may take the values of a recipe, or what fits the data."""

    def __new__(cls, *_: Any, **settings: Any) -> Self:
        """Remembers which settings are given."""
        config = super().__new__(cls)
        object.__setattr__(config, "_given", frozenset(settings))
        return config

    def __post_init__(self) -> None:
        """Numbers are checked when they have been fitted to the data, not here: see `check`."""

    @property
    def given(self) -> frozenset[str]:
        """Names of the settings that were given when this was made."""
        return frozenset(self.__dict__["_given"])

    @property
    def names(self) -> list[str]:
        """Of all settings, in order."""
        return [field.name for field in dataclasses.fields(self) if field.metadata.get("text")]

    @property
    def given_settings(self) -> dict[str, Any]:
        """What was given, by name."""
        return {name: getattr(self, name) for name in self.names if name in self.given}

    def check(self) -> None:
        """Checks every setting by itself.

        Raises:
            ValueError: a required one is missing, or one is out of range.
        """
        for field in dataclasses.fields(self):
            if field.metadata.get("required") and not getattr(self, field.name):
                raise ValueError(f"`{field.name}` must be given: {field.metadata['text']}")
        check_settings(self)

    def completed(self, values: Mapping[str, Any]) -> Self:
        """Takes other values for the settings that were not given. They do not count as given."""
        free = set(self.names) - self.given
        return self.changed({name: value for name, value in values.items() if name in free})

    def lowered(self, name: str, most: int, reason: str) -> Self:
        """Lowers a number that was not given to what the data allow, with a warning.

        A number that was given stays: what checks it says that it does not fit.

        Args:
            name: of a count.
            most: the largest value that fits; 0, where nothing does, is left to what checks it too.
            reason: why, as the end of "--name=1 instead of 2: ".
        """
        if name in self.given or not 1 <= most < getattr(self, name):
            return self
        return self.fitted(name, most, reason)

    def fitted(self, name: str, value: int, reason: str) -> Self:
        """Changes a number that was not given, with a warning; see `lowered`."""
        logger.warning("--%s=%d instead of %d: %s", name, value, getattr(self, name), reason)
        return self.changed({name: value})

    def changed(self, values: Mapping[str, Any]) -> Self:
        """A copy with other values, which do not count as given."""
        copy = dataclasses.replace(self, **values)
        object.__setattr__(copy, "_given", self.given)
        return copy
