"""Parts that sections of a report page are made of."""

import json
from typing import Any

from keras_sare.evaluation.html.tables import escaped


class Drawings:
    """The charts of a page.

    Attributes:
        specifications: Vega-Lite, in the order in which they stand in the page.
    """

    def __init__(self) -> None:
        self.specifications: list[dict[str, Any]] = []

    def place(self, specification: dict[str, Any]) -> str:
        """Takes a chart, and returns the element that it is drawn in."""
        number = len(self.specifications)
        self.specifications.append(specification)
        label = f"{escaped(specification['description'])}. The table below says the same."
        return f'<div class="chart" id="chart{number}" role="group" aria-label="{label}"></div>'


def details(content: str, title: str = "As a table") -> str:
    """What is shown at a click."""
    return f"<details><summary>{escaped(title)}</summary>{content}</details>"


def section(title: str, *contents: str) -> str:
    """Content under a heading."""
    name = json.dumps(title.lower().replace(" ", "-"))
    return f"<section aria-labelledby={name}><h2 id={name}>{escaped(title)}</h2>{''.join(contents)}</section>"
