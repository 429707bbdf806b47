"""TensorFlow Serving's configuration of the models."""

from pathlib import Path

import pytest

from serving.models.config import ModelConfig, read_config
from serving.models.versions import Policy

WHOLE = """
# Two models.
model_config_list {
  config {
    name: "places" base_path: "/models/places" model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 2 } }
    version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 4 }
  }
  config { name: "others" base_path: "/models/others" model_type: TENSORFLOW }
}
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "models.config"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_models_are_read_with_folders_policies_and_labels(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, WHOLE)) == [
        ModelConfig("places", Path("/models/places"), Policy(most=2), {"stable": 3, "canary": 4}),
        ModelConfig("others", Path("/models/others")),
    ]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Policy(most=1)),
        ("latest {}", Policy(most=1)),
        ("latest { num_versions: 0 }", Policy(most=1)),
        ("latest { num_versions: 3 }", Policy(most=3)),
        ("all {}", Policy(most=None)),
        ("specific { versions: 5 versions: 7 }", Policy(most=None, only=frozenset({5, 7}))),
    ],
)
def test_policies_are_read(tmp_path: Path, text: str, policy: Policy) -> None:
    (config,) = read_config(written(tmp_path, one(f"model_version_policy {{ {text} }}")))
    assert config.policy == policy


CONFIG = 'name: "places" base_path: "/models" model_platform: "tensorflow"'


def one(more: str = "", name: str = "places", folder: str = "/models", platform: str = "tensorflow") -> str:
    config = f'name: "{name}" base_path: "{folder}" model_platform: "{platform}" {more}'
    return f"model_config_list {{ config {{ {config} }} }}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "must list at least one model"),
        ("model_config_list {}", "must list at least one model"),
        ("custom_model_config {}", "Only ModelConfigList is currently supported"),
        ("model_config_list { config {", "in the format of TensorFlow Serving's --model_config_file"),
        (b"\xff\xfe", "in the format of TensorFlow Serving's --model_config_file"),
        ("models: 3", "in the format of TensorFlow Serving's --model_config_file"),
        (one(name=""), "`name` must be the name that clients ask for"),
        (one(name="a\\nb"), "`name` must be the name that clients ask for"),
        (one(folder="models"), r"Expected model places to have an absolute path or URI; got base_path\(\)=models"),
        (one(platform=""), "Illegal setting neither .* model name is places"),
        (one(platform="pytorch"), "Model places requests unsupported platform pytorch"),
        (one("model_version_policy { specific {} }"), "No specific versions requested for servable places"),
        (one("} config { " + CONFIG), "Illegal to list model places multiple times in config list"),
        (" " * (2**20 + 1), "at most 1048576 bytes"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str | bytes, error: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=error) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
