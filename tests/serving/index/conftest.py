"""A model small enough that tests can build indexes with it."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="package")
def model(small_mac_file: Callable[[int], Path]) -> Path:
    return small_mac_file(32)
