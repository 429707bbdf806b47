"""Names of a package that are loaded at their first use."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

Hooks = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazy_names(package: str, modules: Mapping[str, str]) -> Hooks:
    """Makes what a package's `__init__` needs so that its names are imported when somebody asks for them.

    Args:
        package: `__name__` of the package.
        modules: the module that defines each name.

    Returns:
        `__getattr__`, `__dir__` and `__all__` of the package.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *modules}), sorted(modules)
