"""What the files for operators are compared with: their schemas, and the flags of the server."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import serving

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where the files are."""
    return Path(serving.__file__).parent / "deployment"


@pytest.fixture(scope="session")
def valid() -> Callable[[str, Any], None]:
    """Raises where a document does not follow the schema of a name."""

    def check(name: str, document: Any) -> None:
        schema = yaml.safe_load((SCHEMAS / f"{name}.yaml").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(document)

    return check


@pytest.fixture(scope="session")
def grace() -> Callable[[list[str]], float]:
    """The seconds of --grace in a command of the server.

    Its flags are those of the server's --help, and no request may be cut off when it stops.
    """
    command = [sys.executable, "-m", "serving", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    known = set(re.findall(r"^  --(?:\[no\])?(\w+)", text, re.MULTILINE))
    assert "grace" in known

    def check(arguments: list[str]) -> float:
        values = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
        assert all(argument.startswith("--") for argument in arguments)
        assert values.keys() <= known
        assert float(values["grace"]) > float(values["max_seconds"])
        return float(values["grace"])

    return check
