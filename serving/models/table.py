"""Which versions there are, in which states, and how many requests hold each of them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import grpc

from serving.errors import RequestError
from serving.models.model import ServedModel


class State(IntEnum):
    """Of a version; the numbers are those of TensorFlow Serving's `ModelVersionStatus`.

    START: it was seen and is not loaded yet. LOADING: it is loaded and warmed up. AVAILABLE: it can be asked for.
    UNLOADING: only requests that had begun before hold it. END: it was unloaded, or could not be loaded.
    """

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """What a version is doing.

    Attributes:
        version: its number.
        state: see `State`.
        error: why it could not be loaded; None where nothing is wrong.
    """

    version: int
    state: State
    error: RequestError | None = None


@dataclass
class _Entry:
    status: VersionStatus
    model: ServedModel | None = None
    uses: int = 0

    def enter(self, state: State, error: RequestError | None = None) -> None:
        self.status = VersionStatus(self.status.version, state, error)


class VersionTable:
    """The versions of all models by name and number. Safe to call from several threads.

    A version that is taken out of service and that no request holds any more goes with the next `close_unused`: not in
    the thread of that request, since freeing a large model takes a while.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, dict[int, _Entry]] = {}
        self._begun = 0

    @contextmanager
    def hold(self, name: str, version: int | None) -> Iterator[ServedModel]:
        """Holds a version while a request runs: so long it is not unloaded.

        Args:
            name: of the model.
            version: None for the highest that is available.

        Raises:
            RequestError: NOT_FOUND, no such version is available.
        """
        with self._lock:
            entry, model = self._choose(name, version)
            entry.uses += 1
            self._begun += 1
        try:
            yield model
        finally:
            with self._lock:
                entry.uses -= 1

    def statuses(self, name: str) -> list[VersionStatus]:
        """The versions of a model, highest first; none for an unknown model."""
        with self._lock:
            return [entry.status for _, entry in sorted(self._entries.get(name, {}).items(), reverse=True)]

    def available(self) -> dict[str, list[int]]:
        """The versions that can be asked for, by model, highest first; models without any are left out."""
        with self._lock:
            found = {name: _available(entries) for name, entries in self._entries.items()}
        return {name: versions for name, versions in found.items() if versions}

    def activity(self) -> tuple[int, int]:
        """How many requests have begun so far, and how many are under way."""
        with self._lock:
            uses = sum(entry.uses for entries in self._entries.values() for entry in entries.values())
            return self._begun, uses

    def enter(self, name: str, version: int, state: State, error: RequestError | None = None) -> None:
        """Notes the state of a version that is not in service.

        Args:
            name: of the model.
            version: its number.
            state: START, LOADING, or END of one that could not be loaded.
            error: why it could not be loaded.
        """
        with self._lock:
            self._entry(name, version).enter(state, error)

    def add(self, name: str, version: int, model: ServedModel) -> None:
        """Takes a loaded version into service."""
        with self._lock:
            entry = self._entry(name, version)
            entry.model = model
            entry.enter(State.AVAILABLE)

    def forget(self, name: str, version: int) -> None:
        """Drops a version that was seen and went before it was loaded."""
        with self._lock:
            self._entries[name].pop(version)

    def unload(self, name: str, version: int) -> None:
        """Takes a version out of service. Requests that hold it go on."""
        with self._lock:
            self._entries[name][version].enter(State.UNLOADING)

    def close_unused(self) -> None:
        """Frees the versions out of service that no request holds."""
        with self._lock:
            everything = [entry for entries in self._entries.values() for entry in entries.values()]
            unused = [entry for entry in everything if entry.status.state is State.UNLOADING and not entry.uses]
        for entry in unused:
            if entry.model is not None:
                entry.model.close()
            with self._lock:
                entry.model = None
                entry.enter(State.END)

    def _entry(self, name: str, version: int) -> _Entry:
        entries = self._entries.setdefault(name, {})
        return entries.setdefault(version, _Entry(VersionStatus(version, State.START)))

    def _choose(self, name: str, version: int | None) -> tuple[_Entry, ServedModel]:
        entries = self._entries.get(name, {})
        wanted = max(_available(entries), default=None) if version is None else version
        entry = entries.get(wanted) if wanted is not None else None
        if entry is None or entry.model is None or entry.status.state is not State.AVAILABLE:
            request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}")
        return entry, entry.model


def _available(entries: Mapping[int, _Entry]) -> list[int]:
    return sorted((v for v, entry in entries.items() if entry.status.state is State.AVAILABLE), reverse=True)
