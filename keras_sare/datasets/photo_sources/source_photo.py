"""A photo as a source lists it."""

import math
import re
from dataclasses import dataclass

LONGEST_NAME = 1024
LONGEST_URI = 4096
MOST = {"metres": (math.inf, math.inf), "degrees": (90.0, 180.0)}
"""That the two numbers of a position may be, either way, by the kind of a source's positions."""

_DIGEST = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """Where the bytes of a photo lie, and what is known of it.

    Attributes:
        name: by which an index knows it.
        uri: of the file that holds it: a path, or an address that fsspec opens.
        position: latitude and longitude in WGS84 degrees, or easting and northing in metres, as its source says; NaN
            where that is not known.
        heading: degrees clockwise from north; NaN where that is not known.
        time: when it was taken, text; empty where that is not known.
        traversal: the walk or drive that it was taken on; empty where that is not known.
        sha256: of its bytes, 64 hexadecimal digits; empty where that is not known.
        offset: of its first byte in the file.
        size: bytes; None for all that the file holds.
    """

    name: str
    uri: str
    position: tuple[float, float] = (math.nan, math.nan)
    heading: float = math.nan
    time: str = ""
    traversal: str = ""
    sha256: str = ""
    offset: int = 0
    size: int | None = None

    @property
    def located(self) -> bool:
        """Whether its position is known."""
        return all(map(math.isfinite, self.position))

    def fault(self, kind: str) -> str:
        """Why what the source says of it cannot be used; empty where it can.

        Args:
            kind: of the source's positions, key of `MOST`.
        """
        if not 0 < len(self.name) <= LONGEST_NAME:
            return f"its id has {len(self.name)} characters, which must be 1 to {LONGEST_NAME}"
        if not 0 < len(self.uri) <= LONGEST_URI:
            return f"its uri has {len(self.uri)} characters, which must be 1 to {LONGEST_URI}"
        if not _is_text(self.name):
            return "its id cannot be written as UTF-8"
        if self.sha256 and not _DIGEST.fullmatch(self.sha256):
            return "its sha256 is not 64 hexadecimal digits"
        if self.located and any(abs(one) > most for one, most in zip(self.position, MOST[kind], strict=True)):
            return "its latitude is not in [-90, 90] or its longitude not in [-180, 180]"
        return ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
