"""Recipes of `trainers.pitts` as data: values of its flags under a name."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    "pitts30k": {},
}
"""By name: the values of the flags that the command line leaves open; a flag that is not named keeps its default."""
