import pytest
import tensorflow as tf

from keras_sare.distribution import choose_strategy
from keras_sare.utils import nvidia
from keras_sare.utils.nvidia import nvidia_device, warn_of_unseen_device

LISTED = "echo 'GPU 0: NVIDIA H200 (UUID: GPU-12345678)'\necho 'GPU 1: NVIDIA H200 (UUID: GPU-87654321)'"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without NVIDIA's driver; called with the lines of a shell script it gets an `nvidia-smi`."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(nvidia, "DEVICE", tmp_path / "nvidia0")
    listed = tf.config.list_physical_devices
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [] if kind == "GPU" else listed(kind))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: [])

    def install(script):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    install("exit 9")  # Hides that of this machine, if there is one.
    return install


def test_machine_without_a_device_is_not_warned_of(machine, caplog):
    assert nvidia_device() is None
    assert choose_strategy() is tf.distribute.get_strategy()
    assert not caplog.records


def test_device_that_tensorflow_does_not_see_is_told_once_with_the_way_out(machine, caplog):
    machine(LISTED)
    choose_strategy()
    [record] = caplog.records
    told = record.getMessage()
    assert "TensorFlow does not see GPU 0: NVIDIA H200 and computes on the processor" in told
    assert f'pip install "tensorflow[and-cuda]=={tf.__version__}"' in told
    assert "\n" not in told


def test_device_is_told_by_its_file_where_nvidia_smi_is_missing_or_does_not_work(machine, monkeypatch, tmp_path):
    (tmp_path / "nvidia0").touch()
    for script in ("exit 9", "echo 'No devices were found'", "echo 'GPU 0: broken'; exit 15"):
        machine(script)
        assert nvidia_device() == str(tmp_path / "nvidia0")
    monkeypatch.setenv("PATH", "")
    assert nvidia_device() == str(tmp_path / "nvidia0")
    assert warn_of_unseen_device()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_device_that_the_user_hides_is_none(machine, monkeypatch, hidden):
    machine(LISTED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not warn_of_unseen_device()


def test_device_that_tensorflow_sees_is_not_warned_of(machine, monkeypatch, caplog):
    machine(LISTED)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: ["GPU:0"])
    assert not warn_of_unseen_device()
    assert not caplog.records


def test_logical_processors_are_meant_and_not_warned_of(machine, caplog):
    machine(LISTED)
    choose_strategy(logical_cpus=2)
    assert not caplog.records
