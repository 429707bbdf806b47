"""The REST interface described for programs: OpenAPI 3.1."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

JSON = "application/json"
_NONE: Mapping[str, Any] = MappingProxyType({})
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/:]+$"}}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**63 - 1},
}
_LABEL = {"name": "label", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/:]+$"}}
_CHOICES: dict[str, list[dict[str, Any]]] = {
    "": [_NAME],
    "/versions/{version}": [_NAME, _VERSION],
    "/labels/{label}": [_NAME, _LABEL],
}

_SIGNATURE_NAME = {"type": "string", "default": "serving_default"}
_SCHEMAS: dict[str, Any] = {
    "Value": {
        "description": "A number, text, bytes as an object b64 of base64, or lists of them, all of one length.",
        "type": ["number", "string", "boolean", "object", "array"],
    },
    "RowRequest": {
        "description": "By rows: a list of values of the one input, or of objects with a value for each input.",
        "type": "object",
        "required": ["instances"],
        "properties": {
            "signature_name": _SIGNATURE_NAME,
            "instances": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Value"}},
        },
        "not": {"required": ["inputs"]},
    },
    "ColumnRequest": {
        "description": "By columns: the value of the one input, or an object with the value of each input.",
        "type": "object",
        "required": ["inputs"],
        "properties": {"signature_name": _SIGNATURE_NAME, "inputs": {"$ref": "#/components/schemas/Value"}},
        "not": {"required": ["instances"]},
    },
    "Rows": {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Value"}}},
        "additionalProperties": False,
    },
    "Columns": {
        "type": "object",
        "required": ["outputs"],
        "properties": {"outputs": {"$ref": "#/components/schemas/Value"}},
        "additionalProperties": False,
    },
    "Status": {
        "type": "object",
        "required": ["model_version_status"],
        "properties": {
            "model_version_status": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["version", "state", "status"],
                    "properties": {
                        "version": {"type": "string", "pattern": "^[0-9]+$"},
                        "state": {"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                        "status": {
                            "type": "object",
                            "required": ["error_code", "error_message"],
                            "properties": {"error_code": {"type": "string"}, "error_message": {"type": "string"}},
                        },
                    },
                },
            }
        },
    },
    "Metadata": {
        "type": "object",
        "required": ["model_spec", "metadata"],
        "properties": {
            "model_spec": {
                "type": "object",
                "required": ["name", "version"],
                "properties": {"name": {"type": "string"}, "version": {"type": "string", "pattern": "^[0-9]+$"}},
            },
            "metadata": {
                "type": "object",
                "required": ["signature_def"],
                "properties": {"signature_def": {"type": "object", "required": ["signature_def"]}},
            },
        },
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
        "additionalProperties": False,
    },
}


def description(paths: Mapping[str, Any] = _NONE, schemas: Mapping[str, Any] = _NONE) -> dict[str, Any]:
    """What the interface offers, as the JSON of OpenAPI 3.1.

    Args:
        paths: beside those of models.
        schemas: that these refer to.
    """
    all_paths: dict[str, Any] = {}
    for choice, parameters in _CHOICES.items():
        path = f"/v1/models/{{name}}{choice}"
        all_paths[f"{path}:predict"] = {"post": _predict(parameters)}
        all_paths[path] = {"get": _get("The state of the versions.", "Status", parameters)}
        all_paths[f"{path}/metadata"] = {"get": _get("The signatures of the model.", "Metadata", parameters)}
    all_paths["/monitoring/prometheus/metrics"] = {
        "get": {
            "summary": "Metrics for Prometheus.",
            "responses": responses("Metrics.", {"text/plain": {"schema": {"type": "string"}}}),
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "keras_sare serving", "version": "1", "description": "TensorFlow Serving's REST interface."},
        "paths": {**all_paths, **paths},
        "components": {
            "schemas": {**_SCHEMAS, **schemas},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # Not all servers ask for a token.
        "security": [{}, {"token": []}],
    }


def _predict(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "summary": "Runs a signature of the model.",
        "parameters": parameters,
        "requestBody": {"required": True, "content": {JSON: {"schema": either("RowRequest", "ColumnRequest")}}},
        "responses": responses("The outputs.", {JSON: {"schema": either("Rows", "Columns")}}),
    }


def _get(summary: str, schema: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"summary": summary, "parameters": parameters, "responses": responses(summary, content)}


def either(*schemas: str) -> dict[str, Any]:
    """A schema of which one of several holds."""
    return {"oneOf": [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]}


def responses(text: str, content: dict[str, Any]) -> dict[str, Any]:
    """The responses of an operation: what it gives, and errors."""
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {
        "200": {"description": text, "content": content},
        "default": {"description": "What is wrong.", "content": {JSON: error}},
    }
