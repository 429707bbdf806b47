"""Reports as JSON text."""

import dataclasses
import json
from typing import Any, Self


class JsonReport:
    """Base of the reports, frozen dataclasses of text, numbers and tuples of numbers."""

    def to_json(self) -> str:
        """Returns the report as JSON text that `from_json` reads back without loss."""
        fields: Any = self
        return json.dumps(dataclasses.asdict(fields), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads a report from the text that `to_json` wrote.

        Raises:
            ValueError: the text is no JSON object with exactly the fields of a report.
        """
        fields = json.loads(text)
        report: Any = cls
        expected = {field.name for field in dataclasses.fields(report)}
        if not isinstance(fields, dict) or set(fields) != expected:
            received = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
            raise ValueError(f"`text` must hold a JSON object with the fields {sorted(expected)}. Received: {received}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
