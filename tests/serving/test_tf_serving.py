"""The configuration for TensorFlow Serving itself."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import serving

FOLDER = Path(serving.__file__).parent / "tf_serving"


def test_the_configuration_is_a_model_server_config_for_the_model() -> None:
    config = text_format.Parse((FOLDER / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("keras_sare", "/models/keras_sare", "tensorflow")


def test_the_readme_mounts_what_the_configuration_names() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert ":/models/keras_sare:ro" in readme
    assert "--model_config_file=/config/models.config" in readme
