"""The addresses of maps described for programs, as parts of `serving.rest.openapi`."""

from typing import Any

from serving.localization.options import LONGEST_STEP, MOST_CANDIDATES, MOST_LISTED
from serving.rest.openapi import JSON, either, responses

_NUMBER_OR_NOTHING = {"type": ["number", "null"]}
_TEXT_OR_NOTHING = {"type": ["string", "null"]}
_FINITE: dict[str, Any] = {"type": "number", "minimum": -1e9, "maximum": 1e9}
_OPTIONS: dict[str, dict[str, Any]] = {
    "k": {"type": "integer", "minimum": 1, "maximum": MOST_CANDIDATES, "default": 20},
    "precision": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.9},
    "near": {"type": "array", "items": _FINITE, "minItems": 2, "maxItems": 2},
    "within": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9, "default": 1000},
    "maps": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_LISTED, "uniqueItems": True},
    "time_of_day": {"type": "string", "pattern": "^([01]?[0-9]|2[0-3]):[0-5][0-9]$"},
    "sequence": {"type": "boolean", "default": False},
    "speed": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_STEP, "default": 20},
}
_MAP = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[\\w.-]+$"}}
_POSITION = {
    "type": ["object", "null"],
    "description": "In degrees or metres, as the map has it.",
    "properties": {name: {"type": "number"} for name in ("latitude", "longitude", "easting", "northing")},
    "minProperties": 2,
    "maxProperties": 2,
    "additionalProperties": False,
}

SCHEMAS: dict[str, Any] = {
    "LocalizeRequest": {
        "type": "object",
        "required": ["photos"],
        "properties": {
            "photos": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "required": ["b64"], "properties": {"b64": {"type": "string"}}},
            },
            **_OPTIONS,
        },
        "additionalProperties": False,
        "dependentSchemas": {"speed": {"required": ["sequence"], "properties": {"sequence": {"const": True}}}},
    },
    "Located": {
        "type": "object",
        "required": ["answers"],
        "properties": {"answers": {"type": "array", "items": either("Answer", "UnreadablePhoto")}},
        "additionalProperties": False,
    },
    "UnreadablePhoto": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
        "additionalProperties": False,
    },
    "Answer": {
        "type": "object",
        "required": ["known", "position", "uncertainty", "probability", "map", "candidates", "error", "surest"],
        "properties": {
            "known": {"type": "boolean", "description": "Whether the answer is sure enough for `precision`."},
            "position": _POSITION,
            "uncertainty": {**_NUMBER_OR_NOTHING, "description": "Metres within which nine of ten such answers are."},
            "probability": {
                **_NUMBER_OR_NOTHING,
                "description": "That the position is right; nothing where the map has no calibration of such answers.",
            },
            "map": _TEXT_OR_NOTHING,
            "candidates": {"type": "array", "items": {"$ref": "#/components/schemas/Candidate"}},
            "error": {"type": "null"},
            "surest": {"type": ["boolean", "null"], "description": "Whether it is the answer for a walk as a whole."},
        },
        "additionalProperties": False,
    },
    "Candidate": {
        "type": "object",
        "required": [
            *("map", "name", "row", "score", "distance", "position", "heading", "timestamp", "thumbnail"),
        ],
        "properties": {
            "map": {"type": "string"},
            "name": {"type": "string"},
            "row": {"type": "integer", "minimum": 0},
            "score": {"type": "number"},
            "distance": {**_NUMBER_OR_NOTHING, "description": "Metres from the estimated position."},
            "position": _POSITION,
            "heading": {**_NUMBER_OR_NOTHING, "description": "Degrees clockwise from north."},
            "timestamp": _TEXT_OR_NOTHING,
            "thumbnail": {"type": "string", "description": "Address of a small picture, where the map has one."},
        },
        "additionalProperties": False,
    },
    "Maps": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name", "photos", "kind", "bounds", "calibrated", "digest", "built"],
            "properties": {
                "name": {"type": "string"},
                "photos": {"type": "integer", "minimum": 0},
                "kind": {"enum": ["degrees", "metres"]},
                "bounds": {"type": ["array", "null"], "items": {"type": "array", "items": {"type": "number"}}},
                "calibrated": {"type": "boolean"},
                "digest": {"type": "string"},
                "built": {"type": "string"},
            },
        },
    },
    "Track": {
        "type": "object",
        "required": ["map", "kind", "photos", "positions"],
        "properties": {
            "map": {"type": "string"},
            "kind": {"enum": ["degrees", "metres"]},
            "photos": {"type": "integer", "minimum": 0},
            "positions": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        },
    },
}


def paths() -> dict[str, Any]:
    """The addresses."""
    thumbnail = {"name": "name", "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}}
    files: dict[str, Any] = {f"image/{kind}": {} for kind in ("jpeg", "png", "webp", "gif")}
    body = {JSON: {"schema": {"$ref": "#/components/schemas/LocalizeRequest"}}, **files}
    localize = {
        "summary": "Says where photos were taken; the options stand in the JSON, or in the address of an image.",
        "requestBody": {"required": True, "content": body},
        "responses": responses("An answer for each photo.", _json("Located")),
    }
    return {
        "/v1/localize": {"post": localize},
        "/v1/maps": {"get": {"summary": "The maps.", "responses": responses("The maps.", _json("Maps"))}},
        "/v1/maps/{name}/track": {"get": _of_map("Where a map's photos are.", _json("Track"), [_MAP])},
        "/v1/maps/{name}/thumbnails": {
            "get": _of_map("A small picture of a photo.", {"image/jpeg": {}}, [_MAP, thumbnail])
        },
    }


def _json(schema: str) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _of_map(summary: str, content: dict[str, Any], parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {"summary": summary, "parameters": parameters, "responses": responses(summary, content)}
