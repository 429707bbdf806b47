"""Which versions of which models are there, and which one a request means."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager

import grpc
from tensorflow_serving.apis import model_pb2

from serving.errors import RequestError, invalid_argument
from serving.models.manifest import check_manifest
from serving.models.model import ServedModel
from serving.models.table import VersionStatus, VersionTable
from serving.models.versions import latest_version


class ModelManager:
    """The models under their names, with the versions that are loaded. Safe to call from several threads."""

    def __init__(self) -> None:
        self._table = VersionTable()

    @classmethod
    def from_folder(cls, name: str, folder: str | os.PathLike[str]) -> "ModelManager":
        """Loads the highest version of a model folder.

        Args:
            name: name that clients ask for.
            folder: folder in TensorFlow Serving's layout, `folder/<integer version>/saved_model.pb`.

        Raises:
            FileNotFoundError: there is no folder, no version in it, or no SavedModel in the version.
            ValueError: the version is not what its manifest describes, or cannot be loaded.
        """
        version, path = latest_version(folder)
        check_manifest(path)
        return cls.from_models(name, [ServedModel(path, version)])

    @classmethod
    def from_models(cls, name: str, models: Iterable[ServedModel]) -> "ModelManager":
        """Serves versions that are loaded already.

        Args:
            name: name that clients ask for.
            models: the versions.

        Raises:
            ValueError: `name` is empty.
        """
        if not name:
            raise ValueError(f"`name` must be the name that clients ask for, such as 'keras_sare'. Received: {name=}")
        manager = cls()
        for model in models:
            manager._table.add(name, model.version, model)
        return manager

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
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
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
