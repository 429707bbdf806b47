"""The messages of TensorFlow Serving's interface that a client needs, without TensorFlow.

The classes of `tensorflow_serving.apis` import TensorFlow, which takes seconds. These are made when this module is
imported, in a pool of descriptors of their own: both may live in one process. Names, numbers and types of the fields
are those of TensorFlow's and TensorFlow Serving's .proto files, of which what a client does not need is left out.
"""

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

# `name number type`, with `repeated`, `map` or `choice` in front: of a message's choices only one can be set. An
# enumeration is an int32 on the wire.
_TENSORFLOW = {
    "TensorShapeDim": ["size 1 int64", "name 2 string"],
    "TensorShapeProto": ["repeated dim 2 .tensorflow.TensorShapeDim", "unknown_rank 3 bool"],
    "TensorProto": [
        "dtype 1 int32",
        "tensor_shape 2 .tensorflow.TensorShapeProto",
        "version_number 3 int32",
        "tensor_content 4 bytes",
        "repeated half_val 13 int32",
        "repeated float_val 5 float",
        "repeated double_val 6 double",
        "repeated int_val 7 int32",
        "repeated string_val 8 bytes",
        "repeated int64_val 10 int64",
        "repeated bool_val 11 bool",
        "repeated uint32_val 16 uint32",
        "repeated uint64_val 17 uint64",
    ],
    "TensorInfo": ["name 1 string", "dtype 2 int32", "tensor_shape 3 .tensorflow.TensorShapeProto"],
    "SignatureDef": [
        "map inputs 1 .tensorflow.TensorInfo",
        "map outputs 2 .tensorflow.TensorInfo",
        "method_name 3 string",
    ],
}
_SERVING = {
    "ModelSpec": [
        "name 1 string",
        "choice version 2 .google.protobuf.Int64Value",
        "signature_name 3 string",
        "choice version_label 4 string",
    ],
    "PredictRequest": [
        "model_spec 1 .tensorflow.serving.ModelSpec",
        "map inputs 2 .tensorflow.TensorProto",
        "repeated output_filter 3 string",
    ],
    "PredictResponse": ["map outputs 1 .tensorflow.TensorProto", "model_spec 2 .tensorflow.serving.ModelSpec"],
    "GetModelStatusRequest": ["model_spec 1 .tensorflow.serving.ModelSpec"],
    "StatusProto": ["error_code 1 int32", "error_message 2 string"],
    "ModelVersionStatus": ["version 1 int64", "state 2 int32", "status 3 .tensorflow.serving.StatusProto"],
    "GetModelStatusResponse": ["repeated model_version_status 1 .tensorflow.serving.ModelVersionStatus"],
    "GetModelMetadataRequest": ["model_spec 1 .tensorflow.serving.ModelSpec", "repeated metadata_field 2 string"],
    "GetModelMetadataResponse": [
        "model_spec 1 .tensorflow.serving.ModelSpec",
        "map metadata 2 .google.protobuf.Any",
    ],
    "SignatureDefMap": ["map signature_def 1 .tensorflow.SignatureDef"],
}
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
"""States of a model version."""

_FIELD = descriptor_pb2.FieldDescriptorProto


def _add_field(message: Any, package: str, text: str) -> None:
    *label, name, number, kind = text.split()
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if label == ["choice"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="version_choice")
        field.oneof_index = 0
    elif label:
        field.label = _FIELD.LABEL_REPEATED
    if label == ["map"]:
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "key 1 string")
        _add_field(entry, package, f"value 2 {kind}")
        kind = f".{package}.{message.name}.{entry.name}"
    if kind.startswith("."):
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = kind
    else:
        field.type = getattr(_FIELD, f"TYPE_{kind.upper()}")


def _file(package: str, messages: dict[str, list[str]], *needed: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(needed)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for text in fields:
            _add_field(message, package, text)
    return file


def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    known = (any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR)
    for descriptor in known:
        pool.AddSerializedFile(descriptor.serialized_pb)
    tensorflow = _file("tensorflow", _TENSORFLOW)
    serving = _file("tensorflow.serving", _SERVING, tensorflow.name, *(one.name for one in known))
    for file in (tensorflow, serving):
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tensorflow.{name}"))


TensorProto = _message("TensorProto")
PredictRequest = _message("serving.PredictRequest")
PredictResponse = _message("serving.PredictResponse")
GetModelStatusRequest = _message("serving.GetModelStatusRequest")
GetModelStatusResponse = _message("serving.GetModelStatusResponse")
GetModelMetadataRequest = _message("serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("serving.GetModelMetadataResponse")
SignatureDefMap = _message("serving.SignatureDefMap")
