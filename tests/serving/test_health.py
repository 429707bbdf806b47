"""The probe for supervisors, against a server."""

from pathlib import Path

import pytest

from serving.health import main
from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer


@pytest.mark.parametrize("model", ["", "keras_sare"])
def test_a_server_that_serves_is_healthy(address: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"--address={address}", f"--model={model}"])
    assert capsys.readouterr().out == "SERVING\n"


def test_an_unknown_model_is_named_as_such(address: str) -> None:
    with pytest.raises(SystemExit, match=f"^serving.health: {address} is not answering: NOT_FOUND"):
        main([f"--address={address}", "--model=other"])


def test_a_server_that_stopped_is_not_healthy(manager: ModelManager, tmp_path: Path) -> None:
    server = ModelServer(manager, f"unix:{tmp_path / 'socket'}")
    server.start()
    main([f"--address={server.address}"])
    server.stop(grace=0)
    with pytest.raises(SystemExit, match="is not answering: UNAVAILABLE"):
        main([f"--address={server.address}"])


def test_files_for_encryption_need_encryption(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="must come with `tls`"):
        main([f"--ca={tmp_path / 'ca.pem'}"])
