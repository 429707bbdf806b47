"""Loads the versions that a model's folder has and its policy wants."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keras_sare.utils.error_text import one_line
from serving.models.config import ModelConfig
from serving.models.loading import load_error, load_version
from serving.models.model import ServedModel
from serving.models.table import State, VersionTable
from serving.models.versions import Fingerprint, find_versions, fingerprint

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 3600.0

Load = Callable[[Path, int], ServedModel]


@dataclass
class _Candidate:
    """A version that is not loaded yet."""

    seen: Fingerprint
    failed: Exception | None = None
    wait: float = 0.0
    retry_at: float = 0.0


class Updates:
    """Brings the versions of models from their folders into a table. To be called by one thread at a time.

    A version that cannot be loaded is named in the log and passed over: the next lower one takes its place. It is tried
    again when its folder changes, and after 1 minute, 2, 4 and so on up to an hour.

    Args:
        table: of the versions.
        load: loads a version folder with that number.
        clock: seconds.
    """

    def __init__(self, table: VersionTable, load: Load = load_version, clock: Callable[[], float] = time.monotonic):
        self._table = table
        self._load = load
        self._clock = clock
        self._candidates: dict[str, dict[int, _Candidate]] = {}
        self._nameless: dict[str, list[Path]] = {}

    def load(self, config: ModelConfig, at_once: bool) -> list[int]:
        """Loads what the model's policy wants and is not loaded yet, the highest version first.

        Args:
            config: of the model.
            at_once: whether to load, too, what failed before or may still be written; otherwise a folder must have
                been the same at two calls.

        Returns:
            The versions that are to stay; the others may go.

        Raises:
            OSError: the model's folder is missing or cannot be read.
        """
        folders, nameless = find_versions(config.folder)
        self._warn_of(config, nameless)
        wanted = config.policy.wanted(folders)
        self._forget(config.name, set(wanted))
        available = self._table.available().get(config.name, [])
        chosen: list[int] = []
        for version in wanted:
            if len(chosen) == config.policy.most:
                break
            if version in available or self._try(config.name, version, folders[version], at_once):
                chosen.append(version)
        # Versions of which none can be loaded are no reason to end those that still run.
        return chosen if chosen or not wanted else available

    def failure(self, name: str) -> Exception | None:
        """Why the highest version of a model could not be loaded that is there and could not."""
        failed = [(version, c.failed) for version, c in self._candidates.get(name, {}).items() if c.failed is not None]
        return max(failed, key=lambda item: item[0])[1] if failed else None

    def _warn_of(self, config: ModelConfig, nameless: list[Path]) -> None:
        if nameless != self._nameless.get(config.name, []):
            for path in nameless:
                logger.error("%s is skipped: the number of a version must be below 2**63", path)
        self._nameless[config.name] = nameless

    def _forget(self, name: str, wanted: set[int]) -> None:
        """Drops what was seen of versions that went before they were loaded."""
        candidates = self._candidates.setdefault(name, {})
        for version in candidates.keys() - wanted:
            del candidates[version]
        for status in self._table.statuses(name):
            if status.state is State.START and status.version not in wanted:
                self._table.forget(name, status.version)

    def _try(self, name: str, version: int, folder: Path, at_once: bool) -> bool:
        if any(s.version == version and s.state is State.UNLOADING for s in self._table.statuses(name)):
            return False
        try:
            seen = fingerprint(folder)
        except OSError:  # It goes while it is looked at.
            return False
        candidate = self._candidates[name].get(version)
        if not at_once and (candidate is None or candidate.seen != seen):
            self._candidates[name][version] = _Candidate(seen)
            self._table.enter(name, version, State.START)
            return False
        candidate = candidate or _Candidate(seen)
        if not at_once and candidate.failed and self._clock() < candidate.retry_at:
            return False
        self._candidates[name][version] = candidate
        return self._take_in(name, version, folder, candidate)

    def _take_in(self, name: str, version: int, folder: Path, candidate: _Candidate) -> bool:
        logger.info("loading version %d of %s", version, name)
        self._table.enter(name, version, State.LOADING)
        try:
            model = self._load(folder, version)
        except Exception as error:  # Whatever it is, the other versions go on.
            logger.debug("Where it happened:", exc_info=True)
            status = load_error(error)
            candidate.failed = _alone(error)
            candidate.wait = min(max(2 * candidate.wait, FIRST_RETRY_SECONDS), LONGEST_RETRY_SECONDS)
            candidate.retry_at = self._clock() + candidate.wait
            self._table.enter(name, version, State.END, status)
            logger.error(
                "version %d of %s is skipped, until its folder changes or %g s have passed: %s",
                version,
                name,
                candidate.wait,
                one_line(error),
            )
            return False
        del self._candidates[name][version]
        self._table.add(name, version, model)
        logger.info("version %d of %s is available", version, name)
        return True


def _alone(error: Exception) -> Exception:
    """The error without what led to it, which would keep a half loaded model in memory."""
    error.__cause__ = None
    error.__context__ = None
    return error.with_traceback(None)
