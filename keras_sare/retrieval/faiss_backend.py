"""The one place that imports faiss."""

import importlib.metadata
from typing import Any

# Wheels of several makers unpack into the same `faiss` folder: the second one installed overwrites the first.
_PREFIXES = ("faiss-cpu", "faiss-gpu", "faiss-cuda")
_EXTRAS = "`pip install keras-sare[cpu]` or `pip install keras-sare[gpu]` (exactly one of the two)"


def import_faiss() -> Any:
    """Imports faiss, which is an optional dependency, and explains what to install when it cannot.

    Returns:
        The `faiss` module.

    Raises:
        ImportError: faiss is missing or does not load; or two distributions of it are installed, which own the same
            folder and break each other.
    """
    installed = _installed_distributions()
    if len(installed) > 1:
        raise ImportError(
            "`faiss` is installed by more than one distribution; they own the same folder and break each other. "
            f"Remove all of them with `pip uninstall {' '.join(installed)}`, then run {_EXTRAS}. "
            f"Received: installed={installed}"
        )
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f"`faiss` is needed to search but cannot be imported ({error}). Run {_EXTRAS}.") from error
    return faiss


def _installed_distributions() -> list[str]:
    names = {str(distribution.name).lower().replace("_", "-") for distribution in importlib.metadata.distributions()}
    return sorted(name for name in names if name.startswith(_PREFIXES))
