"""The folder of a training run: what lies where, and whether it may be started or resumed."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from keras_sare.training.checkpoints.model_choice import ModelChoice
from keras_sare.training.checkpoints.run_changes import check_changes, complete, differences, last_state
from keras_sare.utils.files import atomic_path, check_writable_folder, lock, partials, remove_partials

logger = logging.getLogger(__name__)


def orientation_of(settings: Mapping[str, Any]) -> str:
    """The orientation that a run's images are read in: "upright", or "stored" as in all runs of earlier versions.

    Args:
        settings: of the run.
    """
    return str(complete(settings)["orientation"])


class RunFolder:
    """Paths inside the folder of a run.

    | file | what |
    |---|---|
    | `run.json` | the settings that it was started with; under `changes` what it was resumed with, and from where on |
    | `off_the_shelf.keras` | the model before training, NetVLAD initialised where there is one |
    | `run.lock` | locked by the process that runs here |
    | `checkpoints/` | the last few states of the run and the kept epoch's |
    | `log.csv`, `tensorboard/`, `training.png` | figures of each epoch |
    | `model.keras` | the result: the kept epoch's model, with whitening or without; `select` says which epoch is kept |
    | `unwhitened.keras`, `whitened.keras` | the same model without or with it, where that is not the result |
    | `choice.json` | which of the two the result is, and why: a `ModelChoice` |
    | `recall.json`, `recall.md`, `recall.png`, `matches.png` | evaluation of places on the test split |
    | `queries.csv` | what each model answered to each query of it |
    | `evaluation.json` | the rules, versions and devices of that evaluation |
    | `recall_verdict.json` | which model is best there, and whether beyond chance |
    | `validation.json`, `validation.md` | evaluation of 3D models' photos on the validation photos, with a verdict |

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.off_the_shelf = self.path / "off_the_shelf.keras"
        self.model = self.path / "model.keras"
        self.unwhitened = self.path / "unwhitened.keras"
        self.whitened = self.path / "whitened.keras"
        self._settings = self.path / "run.json"
        self._lock = self.path / "run.lock"
        self._choice = self.path / "choice.json"

    def check(self, settings: dict[str, Any], resume: bool) -> None:
        """Checks that a run may start here, or be resumed here. Writes nothing.

        Args:
            settings: what the run is to be made with.
            resume: whether a run in the folder is to be continued; where there is none, one may start.

        Raises:
            FileExistsError: the folder is not empty and `resume` is off, or it holds something else than a run.
            OSError: nothing can be written there.
            ValueError: the run to be resumed has other settings, or has trained all its epochs so that a change would
                have no effect.
        """
        check_writable_folder(self.path)
        if not self._holds_files():
            return
        if not resume:
            raise FileExistsError(
                "`output` must be a new or empty folder, so that nothing is lost, or the folder of a run that is to be "
                f"resumed. Received: {str(self.path)!r}, which holds files. Resume its run or name another folder."
            )
        if not self.is_run:
            raise FileExistsError(
                "`output` must be the folder of a run to resume, or a new or empty one to start a run in. "
                f"Received: {str(self.path)!r}, which holds files but no run.json. Name another folder."
            )
        check_changes(self.settings, settings, self._state())

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Makes the folder, or clears it of what a kill left half-written, and writes `run.json`.

        Where a run is there already, what differs is added to its `changes`: what was written before stays.
        From then on the folder is this process's own until it ends.

        Raises:
            RuntimeError: another process runs in the folder.
        """
        lock(self._lock)
        remove_partials(self.path)
        if not self.is_run:
            self._write(settings)
        elif changed := {name: settings.get(name) for name in differences(self.settings, settings)}:
            self._add_change(changed)

    @property
    def is_run(self) -> bool:
        """Whether a run was started in the folder."""
        return self._settings.is_file()

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the run, as it was last resumed.

        Raises:
            FileNotFoundError: the folder holds no run.
        """
        settings = self._record()
        for change in settings.pop("changes", []):
            settings |= change["settings"]
        return settings

    @property
    def changes(self) -> list[dict[str, Any]]:
        """What the run was resumed with otherwise than before, in order: `settings`, and from where on they hold.

        That is after `epoch` whole epochs and `step` steps of the next.

        Raises:
            FileNotFoundError: the folder holds no run.
        """
        return list(self._record().get("changes", []))

    def save_model(self, model: keras.Model, target: Path) -> None:
        """Writes a model to one of this folder's `.keras` files, whole or not at all."""
        with atomic_path(target) as path:
            model.save(path)

    @property
    def choice(self) -> ModelChoice | None:
        """What the run has saved, and why; None where it has not come so far."""
        return ModelChoice.from_json(self._choice.read_text()) if self._choice.is_file() else None

    def has_saved(self, origin: str) -> bool:
        """Whether the run has saved its models already, made from `origin` (see `ModelChoice`)."""
        choice = self.choice
        if choice is None or choice.origin != origin:
            return False
        return all((self.path / name).is_file() for name in choice.files.values())

    def save_chosen(self, candidates: Mapping[str, keras.Model], choice: ModelChoice) -> ModelChoice:
        """Saves the chosen model as `model.keras`, the other one beside it, and last of all the choice.

        Args:
            candidates: the model without whitening, and with it where there is one, by name.
            choice: which is chosen and why; its `files` are filled in here.

        Returns:
            The choice as it was saved.
        """
        self._forget_choice()
        others = zip(candidates, (self.unwhitened, self.whitened), strict=False)
        files = {name: self.model if name == choice.saved else other for name, other in others}
        for name, model in candidates.items():
            self.save_model(model, files[name])
        choice = replace(choice, files={name: path.name for name, path in files.items()})
        with atomic_path(self._choice) as path:
            path.write_text(choice.to_json() + "\n")
        logger.info("Saved as %s: %s (%s)", self.model, choice.saved, choice.reason)
        return choice

    def load_model(self) -> keras.Model:
        """Loads the finished model.

        Raises:
            FileNotFoundError: the run has not finished.
        """
        if not self.model.is_file():
            raise FileNotFoundError(
                f"The run in {str(self.path)!r} has no model.keras: it has not finished. Resume it."
            )
        return keras.saving.load_model(self.model)

    def _forget_choice(self) -> None:
        """Deletes what an earlier choice left beside `model.keras`, before the models are written anew."""
        for path in (self._choice, self.unwhitened, self.whitened):
            path.unlink(missing_ok=True)

    def _record(self) -> dict[str, Any]:
        if not self.is_run:
            raise FileNotFoundError(
                f"There is no run in {str(self.path)!r}: it has no run.json. Name the folder that a training run wrote."
            )
        return dict(json.loads(self._settings.read_text()))

    def _write(self, record: dict[str, Any]) -> None:
        with atomic_path(self._settings) as file:
            file.write_text(json.dumps(record, indent=2) + "\n")

    def _add_change(self, changed: dict[str, Any]) -> None:
        state = self._state()
        epoch, step = (state["epoch"], len(state["running"]["losses"])) if state else (0, 0)
        logger.info("Settings after epoch %d, step %d of the next: %s", epoch, step, changed)
        change = {"epoch": epoch, "step": step, "settings": changed}
        self._write({**self._record(), "changes": [*self.changes, change]})

    def _state(self) -> dict[str, Any]:
        return last_state(self.path / "checkpoints")

    def _holds_files(self) -> bool:
        """Whether there is more than what is left of a run that was killed before `run.json` was written."""
        left = {self._lock, *partials(self.path, self._settings.name)}
        return self.path.is_dir() and not left.issuperset(self.path.iterdir())
