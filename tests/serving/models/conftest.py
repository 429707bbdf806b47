"""Model folders with versions of a few bytes, and a manager that loads those."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.models.config import ModelConfig
from serving.models.manager import ModelManager
from serving.models.updates import Updates


class FakeModel:
    """What a version folder becomes whose file says `good`."""

    def __init__(self, folder: Path, version: int) -> None:
        text = (folder / "saved_model.pb").read_text()
        if text != "good":
            raise ValueError(f"the file says {text}")
        self.version = version
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loads() -> list[int]:
    """The versions that were tried, in order."""
    return []


@pytest.fixture
def manage(clock: Clock, loads: list[int]) -> Callable[..., ModelManager]:
    """Makes a manager of models of which a version is loaded where its file says `good`."""

    def load(folder: Path, version: int) -> FakeModel:
        loads.append(version)
        return FakeModel(folder, version)

    def manage(*configs: ModelConfig) -> ModelManager:
        return ModelManager(configs, allow_reload=True, updates=lambda table: Updates(table, load, clock))

    return manage


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a version: `put(3)` a good one, `put(4, "bad")` one that cannot be loaded."""

    def put(version: int | str, text: str = "good", name: str = "places") -> Path:
        folder = tmp_path / name / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_text(text)
        return folder

    return put
