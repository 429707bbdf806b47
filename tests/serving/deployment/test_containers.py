"""The image and the composition of both servers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
Grace = Callable[[list[str]], float]


@pytest.fixture(scope="module")
def services(folder: Path, valid: Callable[[str, Any], None]) -> Any:
    document = yaml.safe_load((folder / "compose.yaml").read_text())
    valid("compose", document)
    return document["services"]


@pytest.fixture(scope="module")
def dockerfile(folder: Path) -> str:
    """With its continued lines joined."""
    return (folder / "Dockerfile").read_text().replace("\\\n", "")


def arguments(dockerfile: str, instruction: str) -> list[str]:
    [found] = re.findall(rf"^{instruction} (\[.*\])$", dockerfile, re.MULTILINE)
    return list(json.loads(found))


def test_the_composed_servers_are_stopped_after_their_grace(services: Any, grace: Grace) -> None:
    embedded = services["embedded"]
    assert float(embedded["stop_grace_period"].removesuffix("s")) > grace(embedded["command"]) + 2


def test_what_is_composed_exists(services: Any, folder: Path) -> None:
    build = services["embedded"]["build"]
    assert (folder / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    command = services["tensorflow_serving"]["command"]
    files = [Path(value).name for value in command if value.endswith(".config")]
    assert len(files) == 2
    [source] = [volume.split(":")[0] for volume in services["tensorflow_serving"]["volumes"] if ":/config" in volume]
    assert all((folder / source / name).is_file() for name in files)


def test_published_ports_differ_and_are_the_servers(services: Any) -> None:
    published = [port.rsplit(":", 1) for service in services.values() for port in service["ports"]]
    assert len({outside for outside, _ in published}) == len(published)
    for service in services.values():
        listened = {
            re.sub(r".*=", "", flag) for flag in service["command"] if re.match(r"--(rest_(api_)?)?port=", flag)
        }
        assert {port.rsplit(":", 1)[1] for port in service["ports"]} <= listened


def test_the_image_runs_the_server_as_nobody_special(dockerfile: str, grace: Grace) -> None:
    assert grace(arguments(dockerfile, "CMD")) > 0
    assert arguments(dockerfile, "ENTRYPOINT") == ["python", "-m", "serving"]
    users = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    assert len(users) == 1
    assert "0" not in users[0]


def test_the_image_installs_only_files_whose_hash_is_known(dockerfile: str) -> None:
    installs = re.findall(r"pip install .*", dockerfile)
    assert len(installs) == 1
    assert "--require-hashes -r" in installs[0]
    lock = (ROOT / "requirements.lock").read_text()
    assert len(re.findall(r"^\S+==", lock, re.MULTILINE)) == len(re.findall(r"==.*\\\n +--hash=sha256:", lock))


def test_the_image_copies_what_is_not_ignored(dockerfile: str, folder: Path) -> None:
    copied = [name for name in re.findall(r"^COPY (\S+) ", dockerfile, re.MULTILINE) if not name.startswith("--from=")]
    kept = re.findall(r"^!(.*)$", (folder / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_asks_for_its_own_health(dockerfile: str) -> None:
    [found] = re.findall(r"HEALTHCHECK .*CMD (\[.*\])$", dockerfile, re.MULTILINE)
    command = json.loads(found)
    assert command[:3] == ["python", "-m", "serving.health"]
    port = next(flag for flag in arguments(dockerfile, "CMD") if flag.startswith("--port="))
    assert command[3:] == [f"--address=localhost:{port.removeprefix('--port=')}"]


def test_the_image_has_the_packages_that_the_server_imports(dockerfile: str) -> None:
    copied = set(re.findall(r"^COPY (\w+) /opt", dockerfile, re.MULTILINE))
    assert "serving" in copied
    texts = [path.read_text() for package in copied for path in (ROOT / package).rglob("*.py")]
    imported = {name for text in texts for name in re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE)}
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert len(ours) == 4
    assert imported & ours <= copied
