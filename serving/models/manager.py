"""Which versions of the model are there, and which one a request means."""

import os

import grpc
from tensorflow_serving.apis import model_pb2

from serving.errors import RequestError, invalid_argument
from serving.models.manifest import check_manifest
from serving.models.model import ServedModel
from serving.models.versions import latest_version


class ModelManager:
    """The model under its name, with the versions that are loaded.

    Args:
        name: name that clients ask for.
        models: the loaded versions, at least one.

    Raises:
        ValueError: `name` or `models` is empty.
    """

    def __init__(self, name: str, models: list[ServedModel]) -> None:
        if not name:
            raise ValueError(f"`name` must be the name that clients ask for, such as 'keras_sare'. Received: {name=}")
        if not models:
            raise ValueError(f"`models` must hold at least one loaded version. Received: {models=}")
        self.name = name
        self._models = {model.version: model for model in models}

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
        return cls(name, [ServedModel(path, version)])

    @property
    def latest(self) -> int:
        """The highest loaded version."""
        return max(self._models)

    def find(self, spec: model_pb2.ModelSpec) -> ServedModel:
        """The model version that a request means.

        Args:
            spec: the request's model name, with or without a version.

        Raises:
            RequestError: INVALID_ARGUMENT for a missing name or a version label (none are configured), NOT_FOUND for an
                unknown model or version.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        # A version of 0 is a version, not "no version": only its presence tells.
        version = spec.version.value if choice == "version" else self.latest
        if spec.name != self.name or version not in self._models:
            wanted = f"Specific({spec.name}, {version})" if choice == "version" else f"Latest({spec.name})"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")
        return self._models[version]

    def available(self, spec: model_pb2.ModelSpec) -> list[int]:
        """The loaded versions among those a status request asks for, highest first.

        Args:
            spec: the request's model name; with a version, only that one is looked for. A label counts as no version.

        Raises:
            RequestError: NOT_FOUND, none of them is loaded.
        """
        versions = sorted(self._models, reverse=True) if spec.name == self.name else []
        if not spec.HasField("version"):
            if not versions:
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
            return versions
        if spec.version.value not in versions:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Could not find version {spec.version.value} of model {spec.name}"
            )
        return [spec.version.value]
