"""The messages of `localization.proto`, made when this module is imported: no generated code, and no TensorFlow."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "keras_sare.serving"
SERVICE = f"{PACKAGE}.LocalizationService"
METHOD = "Localize"

# As in the .proto file: `[repeated|optional] type name number`.
MESSAGES = {
    "LocalizeRequest": [
        "repeated bytes photos 1",
        "optional int32 k 2",
        "optional double precision 3",
        "repeated double near 4",
        "optional double within 5",
        "repeated string maps 6",
        "optional string time_of_day 7",
        "optional bool sequence 8",
        "optional double speed 9",
    ],
    "Position": [
        "optional double latitude 1",
        "optional double longitude 2",
        "optional double easting 3",
        "optional double northing 4",
    ],
    "Candidate": [
        "string map 1",
        "string name 2",
        "int32 row 3",
        "double score 4",
        "optional double distance 5",
        "Position position 6",
        "optional double heading 7",
        "optional string timestamp 8",
    ],
    "Answer": [
        "bool known 1",
        "Position position 2",
        "optional double uncertainty 3",
        "optional double probability 4",
        "optional string map 5",
        "repeated Candidate candidates 6",
        "optional string error 7",
        "optional bool surest 8",
    ],
    "LocalizeResponse": ["repeated Answer answers 1"],
}
"""Fields of each message."""

_FIELD = descriptor_pb2.FieldDescriptorProto


def _add_field(message: Any, text: str) -> None:
    *label, kind, name, number = text.split()
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if label == ["repeated"]:
        field.label = _FIELD.LABEL_REPEATED
    elif label:
        # What tells a field that is 0 from one that is not there.
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    if kind in MESSAGES:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(_FIELD, f"TYPE_{kind.upper()}")


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/localization/localization.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields:
            _add_field(message, text)
    service = file.service.add(name=SERVICE.removeprefix(f"{PACKAGE}."))
    service.method.add(
        name=METHOD, input_type=f".{PACKAGE}.LocalizeRequest", output_type=f".{PACKAGE}.LocalizeResponse"
    )
    return file


# Reflection finds it there.
_POOL = descriptor_pool.Default()
DESCRIPTOR = _POOL.AddSerializedFile(_file().SerializeToString())
"""Of the file."""


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


LocalizeRequest = _message("LocalizeRequest")
LocalizeResponse = _message("LocalizeResponse")
