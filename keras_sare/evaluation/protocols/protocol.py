"""A protocol of place recognition as data: which database images are right for a query, and which are not counted."""

import dataclasses
from dataclasses import dataclass

from keras_sare.datasets import ShorterSide

EXCLUSIONS = ("timestamp", "photo", "traversal")
"""What a database image may share with a query and then be excluded: neither found nor right."""

_GROUPS = ("panorama", "position")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What counts as found. A rule that is None or off restricts nothing; an image that is right meets all others.

    Attributes:
        name: printed with every number.
        source: whose definition it is.
        radius: metres within which a database image is right, inclusive; None where positions say nothing.
        heading: degrees by which its heading may differ from the query's, inclusive.
        frames: how far its frame number may be from the query's, inclusive.
        places: whether it must be of the query's place: pairs of photos, labels without positions.
        exclude: some of `EXCLUSIONS`.
        best_of: "panorama" where of the cut-outs of a panorama only the best one is counted, "position" where of all
            images at one position; None counts all.
        conditions: whether queries are reported apart by their condition too, such as day, sunset and night.
        query_size: how queries are resized, a number for the longer side; None as the database images are.
        skips_without_positive: whether queries without a positive are left out; else they are misses.
    """

    name: str
    source: str
    radius: float | None = None
    heading: float | None = None
    frames: int | None = None
    places: bool = False
    exclude: tuple[str, ...] = ()
    best_of: str | None = None
    conditions: bool = False
    query_size: int | None = None
    skips_without_positive: bool = False

    def __post_init__(self) -> None:
        unknown = set(self.exclude) - set(EXCLUSIONS)
        if unknown:
            raise ValueError(
                f"`exclude` must be of {', '.join(EXCLUSIONS)}. Received: exclude={','.join(sorted(unknown))}"
            )
        if self.best_of not in (None, *_GROUPS):
            raise ValueError(f"`best_of` must be {' or '.join(_GROUPS)}, or None. Received: best_of={self.best_of!r}")
        if self.radius is None and self.frames is None and not self.places:
            raise ValueError(f"`radius`, `frames` or `places` must say what is right. Received: none, in {self.name!r}")
        if self.radius is not None and not self.radius > 0:
            raise ValueError(f"`radius` must be metres above 0. Received: radius={self.radius}")
        for name in ("heading", "frames"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"`{name}` must be at least 0. Received: {name}={value}")

    @property
    def columns(self) -> tuple[str, ...]:
        """What it asks of a dataset, as columns of places.csv."""
        asked = {
            "easting and northing (or lat and lon)": self.radius is not None or self.best_of == "position",
            "heading": self.heading is not None,
            "frame": self.frames is not None,
            "place": self.places,
            "timestamp": "timestamp" in self.exclude,
            "traversal": "traversal" in self.exclude,
        }
        return tuple(column for column, is_asked in asked.items() if is_asked)

    @property
    def right(self) -> str:
        """Which database images are right, in words: "within 25 m and 40 degrees of heading"."""
        frames = "frame" if self.frames == 1 else "frames"
        limits = {"m": self.radius, frames: self.frames, "degrees of heading": self.heading}
        text = " and ".join(f"{limit:g} {unit}" for unit, limit in limits.items() if limit is not None)
        rules = [f"within {text}"] if text else []
        return ", ".join([*rules, "at the same place"] if self.places else rules)

    @property
    def counting(self) -> str:
        """How answers are counted, in words; "" where every image and query is."""
        rules = {f"excluding the query's own {what}": what in self.exclude for what in EXCLUSIONS}
        rules[f"best image of each {self.best_of}"] = self.best_of is not None
        rules["queries without a positive left out"] = self.skips_without_positive
        return ", ".join(rule for rule, holds in rules.items() if holds)

    @property
    def description(self) -> str:
        """All of its rules in words, for lists."""
        parts = [self.right, self.counting]
        if self.query_size is not None:
            side = "shorter" if isinstance(self.query_size, ShorterSide) else "longer"
            parts.append(f"queries' {side} side {int(self.query_size)}")
        if self.conditions:
            parts.append("by condition")
        return ", ".join(part for part in parts if part)

    def changed(self, **rules: object) -> "Protocol":
        """A copy with other rules."""
        return dataclasses.replace(self, **rules)  # type: ignore[arg-type]
