"""Loads a version: checked before, warmed up after."""

from pathlib import Path

import grpc
import tensorflow as tf

from serving.errors import RequestError
from serving.models.manifest import check_manifest
from serving.models.model import STATUS_CODES, ServedModel
from serving.models.versions import Fingerprint, fingerprint
from serving.models.warmup import replay_warmup


def load_version(folder: Path, version: int) -> ServedModel:
    """Loads a version that is as its manifest says, and warms it up.

    Args:
        folder: of the version.
        version: its number.

    Raises:
        FileNotFoundError: there is no SavedModel in the folder.
        OSError: the folder cannot be read.
        ValueError: it is not what its manifest describes, cannot be loaded, does not answer its warm-up requests, or
            was changed meanwhile.
    """
    before = fingerprint(folder)
    digest = check_manifest(folder)
    model = ServedModel(folder, version, digest)
    try:
        replay_warmup(folder, model)
        _check_unchanged(folder, before)
    except Exception:
        model.close()
        raise
    return model


def load_error(error: Exception) -> RequestError:
    """What the status of a version says that could not be loaded.

    Args:
        error: of `load_version`.

    Returns:
        The error with its text, and the code of TensorFlow's own error where there is one.
    """
    cause = error.__cause__
    if isinstance(cause, RequestError):
        code = cause.code
    elif isinstance(cause, tf.errors.OpError):
        code = STATUS_CODES[cause.error_code]
    elif isinstance(error, FileNotFoundError):
        code = grpc.StatusCode.NOT_FOUND
    else:
        code = grpc.StatusCode.DATA_LOSS if isinstance(error, ValueError) else grpc.StatusCode.UNKNOWN
    return RequestError(code, str(error))


def _check_unchanged(folder: Path, before: Fingerprint) -> None:
    if fingerprint(folder) != before:
        raise ValueError(f"`folder` must not change while it is loaded. Received: folder={folder}")
