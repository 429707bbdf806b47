"""Which models are served: TensorFlow Serving's ModelServerConfig, read and checked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.models.versions import LATEST, Policy

PLATFORM = "tensorflow"
_LARGEST_FILE = 2**20


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: that clients ask for.
        folder: with a subfolder for each version.
        policy: which of the versions are served.
        labels: names of versions.

    Raises:
        ValueError: `name` is empty or has characters that cannot be printed.
    """

    name: str
    folder: Path
    policy: Policy = LATEST
    labels: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise ValueError(
                f"`name` must be the name that clients ask for, such as 'keras_sare'. Received: name={self.name!r}"
            )


def read_config(path: str | os.PathLike[str]) -> list[ModelConfig]:
    """Reads a file such as `models.config`: a `ModelServerConfig` in protobuf's text format.

    Args:
        path: of the file, up to 1 MiB.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such configuration, or `model_configs` refuses it.
    """
    if os.path.getsize(path) > _LARGEST_FILE:
        raise ValueError(
            f"`path` must be a configuration of at most {_LARGEST_FILE} bytes. "
            f"Received: path={path}, of {os.path.getsize(path)} bytes"
        )
    try:
        message = text_format.Parse(Path(path).read_bytes(), model_server_config_pb2.ModelServerConfig())
        configs = model_configs(message)
    except (text_format.ParseError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(
            f"`path` must be a file in the format of TensorFlow Serving's --model_config_file, such as "
            f"serving/tf_serving/models.config. Received: path={path}, which fails with: {error}"
        ) from error
    if not configs:
        raise ValueError(f"`path` must list at least one model. Received: path={path}")
    return configs


def model_configs(message: Any) -> list[ModelConfig]:
    """The models of a `ModelServerConfig`.

    Args:
        message: the configuration. What TensorFlow Serving refuses is refused here, with its texts.

    Raises:
        ValueError: a model is listed twice, or without a name, an absolute path, a platform or the versions it needs.
    """
    if message.WhichOneof("config") == "custom_model_config":
        raise ValueError(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    configs = [_model_config(config) for config in message.model_config_list.config]
    names = [config.name for config in configs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Illegal to list model {name} multiple times in config list")
    return configs


def _model_config(config: Any) -> ModelConfig:
    if not os.path.isabs(config.base_path):
        raise ValueError(
            f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
        )
    _check_platform(config)
    labels = MappingProxyType(dict(config.version_labels))
    return ModelConfig(config.name, Path(config.base_path), _policy(config), labels)


def _check_platform(config: Any) -> None:
    platform = config.model_platform
    if not platform and config.model_type == model_server_config_pb2.ModelType.TENSORFLOW:
        platform = PLATFORM
    if not platform:
        raise ValueError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {config.name}"
        )
    if platform != PLATFORM:
        raise ValueError(f"Model {config.name} requests unsupported platform {platform}")


def _policy(config: Any) -> Policy:
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return Policy(most=None)
    if choice == "specific":
        if not policy.specific.versions:
            raise ValueError(f"No specific versions requested for servable {config.name}.")
        return Policy(most=None, only=frozenset(policy.specific.versions))
    return Policy(most=max(policy.latest.num_versions, 1))
