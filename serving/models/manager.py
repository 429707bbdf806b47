"""Which versions of which models are there, and which one a request means."""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
from tensorflow_serving.apis import model_pb2

from keras_sare.utils.error_text import one_line
from serving.errors import RequestError, invalid_argument
from serving.models.config import ModelConfig, model_configs
from serving.models.memory import Trimming
from serving.models.model import ServedModel
from serving.models.table import VersionStatus, VersionTable
from serving.models.updates import Updates

logger = logging.getLogger(__name__)


class ModelManager:
    """The models under their names, with the versions that are loaded. Safe to call from several threads.

    Args:
        configs: of the models. Those that their policies want are loaded at once.
        allow_reload: whether `reload` may be called by clients. It can make the server load any folder, and a
            SavedModel is code.
        updates: makes what loads the versions; for tests.

    Raises:
        OSError: a model's folder is missing, or there is no SavedModel in its only version.
        ValueError: a model has no version that can be loaded: the highest is not what its manifest describes, is
            damaged or does not answer its warm-up requests.
    """

    def __init__(
        self,
        configs: Iterable[ModelConfig] = (),
        allow_reload: bool = False,
        updates: Callable[[VersionTable], Updates] = Updates,
    ) -> None:
        self._table = VersionTable()
        self._updates = updates(self._table)
        self._allow_reload = allow_reload
        self._configs: dict[str, ModelConfig] = {}
        self._trimming = Trimming(self._table.activity)
        self._troubles: dict[str, str] = {}
        self._changing = threading.Lock()
        self._replace({config.name: config for config in configs})

    @classmethod
    def from_folder(cls, name: str, folder: str | os.PathLike[str]) -> "ModelManager":
        """Serves the highest version of one model.

        Args:
            name: name that clients ask for.
            folder: folder in TensorFlow Serving's layout, `folder/<integer version>/saved_model.pb`.

        Raises:
            OSError: see `ModelManager`.
            ValueError: see `ModelManager`.
        """
        return cls([ModelConfig(name, Path(folder))])

    @classmethod
    def from_models(cls, name: str, models: Iterable[ServedModel]) -> "ModelManager":
        """Serves versions that are loaded already.

        Args:
            name: name that clients ask for.
            models: the versions.
        """
        manager = cls()
        for model in models:
            manager._table.add(name, model.version, model)
        return manager

    def poll(self) -> None:
        """Looks at the folders: loads versions that came and serves them, and unloads those that went.

        Once no request has come for a while, memory that is free goes back to the system.

        A version is loaded once its folder is the same at two calls: so none is loaded while it is copied.
        """
        with self._changing:
            for config in self._configs.values():
                try:
                    kept = self._updates.load(config, at_once=False)
                except OSError as error:  # A folder that is out of reach for a while ends nothing.
                    self._warn(config.name, one_line(error))
                else:
                    self._warn(config.name, "")
                    self._unload_others(config.name, kept)
            self._table.close_unused()
        self._trimming.look()

    def reload(self, config: Any) -> None:
        """Replaces the models by those of another configuration, or changes nothing.

        What the new one wants is loaded first; then labels and versions pass over, and what it does not want is
        unloaded. Versions that are loaded already stay, from the folder that they came from.

        Args:
            config: a `ModelServerConfig`.

        Raises:
            RequestError: PERMISSION_DENIED, the server does not allow it; INVALID_ARGUMENT, the configuration is wrong;
                FAILED_PRECONDITION, a label means a version that is not available; UNKNOWN, no version of a model can
                be loaded.
        """
        if not self._allow_reload:
            raise RequestError(grpc.StatusCode.PERMISSION_DENIED, "The server does not allow to change what it serves")
        try:
            configs = {entry.name: entry for entry in model_configs(config)}
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        if config.WhichOneof("config") is None:
            return
        try:
            self._replace(configs, check_labels=True)
        except (OSError, ValueError) as error:
            raise RequestError(
                grpc.StatusCode.UNKNOWN, f"1 model(s) did not become available: {one_line(error)}"
            ) from error

    def available(self) -> dict[str, list[int]]:
        """The versions that can be asked for, by model name, highest first."""
        return self._table.available()

    def find(self, spec: model_pb2.ModelSpec) -> AbstractContextManager[ServedModel]:
        """The model version that a request means, held while the request runs: so long it is not unloaded.

        Args:
            spec: the request's model name, with or without a version.

        Returns:
            A context manager, which gives the model.

        Raises:
            RequestError: INVALID_ARGUMENT for a missing name or an unknown label; where the context is entered also
                NOT_FOUND, the version is unknown or not available.

        Example:

        >>> with manager.find(request.model_spec) as model:
        ...     outputs = model.predict("serving_default", request.inputs)
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            return self._table.hold(spec.name, self._labelled(spec))
        # A version of 0 is a version, not "no version": only its presence tells.
        return self._table.hold(spec.name, spec.version.value if choice == "version" else None)

    def statuses(self, spec: model_pb2.ModelSpec) -> list[VersionStatus]:
        """What the versions that a status request asks for are doing, highest first.

        Args:
            spec: the request's model name; with a version, only that one is looked for. A label counts as no version.

        Raises:
            RequestError: NOT_FOUND, there are none.
        """
        statuses = self._table.statuses(spec.name)
        if not spec.HasField("version"):
            if not statuses:
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
            return statuses
        wanted = [status for status in statuses if status.version == spec.version.value]
        if not wanted:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Could not find version {spec.version.value} of model {spec.name}"
            )
        return wanted

    def _labelled(self, spec: model_pb2.ModelSpec) -> int:
        config = self._configs.get(spec.name)
        if config is None or spec.version_label not in config.labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return config.labels[spec.version_label]

    def _replace(self, configs: dict[str, ModelConfig], check_labels: bool = False) -> None:
        with self._changing:
            before = self._table.available()
            kept: dict[str, list[int]] = {}
            try:
                for config in configs.values():
                    kept[config.name] = self._updates.load(config, at_once=True)
                    _check_any(config, kept[config.name], self._updates.failure(config.name))
                for config in configs.values():
                    self._check_labels(config, refuse=check_labels)
            except Exception:
                for name in self._table.available():
                    self._unload_others(name, before.get(name, []))
                raise
            self._configs = configs
            for name in self._table.available():
                self._unload_others(name, kept.get(name, []))

    def _warn(self, name: str, trouble: str) -> None:
        """Once, not at every poll."""
        if trouble and trouble != self._troubles.get(name):
            logger.warning("%s stays as it is: %s", name, trouble)
        self._troubles[name] = trouble

    def _check_labels(self, config: ModelConfig, refuse: bool) -> None:
        available = self._table.available().get(config.name, [])
        for version in config.labels.values():
            if version not in available:
                text = (
                    f"Request to assign label to version {version} of model {config.name}, which is not currently "
                    f"available for inference"
                )
                if refuse:
                    raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, text)
                logger.warning("%s", text)

    def _unload_others(self, name: str, kept: list[int]) -> None:
        for version in self._table.available().get(name, []):
            if version not in kept:
                logger.info("unloading version %d of %s", version, name)
                self._table.unload(name, version)
        self._table.close_unused()


def _check_any(config: ModelConfig, available: list[int], failure: Exception | None) -> None:
    if available:
        return
    if failure is not None:
        raise failure
    raise FileNotFoundError(
        f"`folder` must hold at least one subfolder named by an integer version that the policy of {config.name} "
        f"wants, as in MODEL/1/saved_model.pb; pass the folder above the version. Received: folder={config.folder}"
    )
