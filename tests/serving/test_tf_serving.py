"""The configuration for TensorFlow Serving itself."""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

import serving
from serving.limits import Limits

FOLDER = Path(serving.__file__).parent / "tf_serving"
FIELD = descriptor_pb2.FieldDescriptorProto

BATCHING = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "allowed_batch_sizes": (6, "repeated"),
    "pad_variable_length_inputs": (7, "bool"),
    "enable_large_batch_splitting": (8, "BoolValue"),
    "max_execution_batch_size": (9, "Int64Value"),
}
MONITORING = {"enable": (1, "bool"), "path": (2, "string")}
"""Fields of messages of TensorFlow Serving that its Python package does not have: BatchingParameters in
session_bundle_config.proto and PrometheusConfig in monitoring_config.proto."""


def messages() -> tuple[Any, Any]:
    """The classes of both messages."""
    file = descriptor_pb2.FileDescriptorProto(name="parameters.proto", package="parameters", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in (("BatchingParameters", BATCHING), ("PrometheusConfig", MONITORING)):
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = FIELD.LABEL_REPEATED if kind == "repeated" else FIELD.LABEL_OPTIONAL
            plain = {"repeated": FIELD.TYPE_INT64, "bool": FIELD.TYPE_BOOL, "string": FIELD.TYPE_STRING}
            added = message.field.add(name=field, number=number, label=label, type=plain.get(kind, FIELD.TYPE_MESSAGE))
            if kind not in plain:
                added.type_name = f".google.protobuf.{kind}"
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        label=FIELD.LABEL_OPTIONAL,
        type=FIELD.TYPE_MESSAGE,
        type_name=".parameters.PrometheusConfig",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    names = ("parameters.BatchingParameters", "parameters.MonitoringConfig")
    first, second = (message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names)
    return first, second


def test_the_configuration_is_a_model_server_config_for_the_model() -> None:
    config = text_format.Parse((FOLDER / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("keras_sare", "/models/keras_sare", "tensorflow")


def test_batching_has_the_fields_of_tensorflow_serving_and_values_that_it_accepts() -> None:
    batching = text_format.Parse((FOLDER / "batching.config").read_text(), messages()[0]())
    # TensorFlow Serving refuses sizes that do not grow, and a last one that is not the largest.
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == batching.max_batch_size.value == Limits.images
    # Zeros at an image's edge would change its descriptor.
    assert not batching.pad_variable_length_inputs


def test_monitoring_is_told_at_the_default_path() -> None:
    monitoring = text_format.Parse((FOLDER / "monitoring.config").read_text(), messages()[1]())
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path == "/monitoring/prometheus/metrics"


def test_the_readme_mounts_what_the_configuration_names() -> None:
    readme = (FOLDER / "README.md").read_text()
    assert ":/models/keras_sare:ro" in readme
    assert "--model_config_file=/config/models.config" in readme
