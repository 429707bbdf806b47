"""The page's addresses described for programs, as a part of `serving.rest.openapi`."""

from typing import Any

from serving.rest.openapi import JSON, responses

_TEXT = {"type": "string", "minLength": 1, "maxLength": 1024}
_FILE = {"type": "object", "required": ["b64"], "properties": {"b64": {"type": "string"}}}
_POSITION = {
    "type": ["object", "null"],
    "description": "In degrees or metres, as the map has it.",
    "properties": {name: {"type": "number"} for name in ("latitude", "longitude", "easting", "northing")},
}
_FEEDBACK = {
    "type": "object",
    "required": ["sha256", "verdict", "answer"],
    "properties": {
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Of the photo's file."},
        "verdict": {"enum": ["right", "wrong"]},
        "answer": {
            "type": "object",
            "required": ["known", "candidates"],
            "properties": {
                "known": {"type": "boolean"},
                "map": {"type": ["string", "null"]},
                "position": _POSITION,
                "uncertainty": {"type": ["number", "null"]},
                "probability": {"type": ["number", "null"]},
                "candidates": {"type": "array", "maxItems": 20, "items": {"type": "string"}},
            },
        },
        "map": {"type": ["string", "null"], "description": "Of `position`."},
        "position": {**_POSITION, "description": "Where the photo was taken, if its owner says so."},
    },
}


def paths() -> dict[str, Any]:
    """The addresses."""
    pictures = {
        "type": "object",
        "required": ["photo", "candidate"],
        "properties": {
            "photo": {**_FILE, "description": "PNG with transparency, to lay over the photo."},
            "candidate": {**_FILE, "description": "The same for the candidate's thumbnail."},
        },
    }
    heatmaps = {
        "summary": "Shows what in a photo and in a candidate agreed, where the server offers that.",
        "parameters": [{"name": name, "in": "query", "required": True, "schema": _TEXT} for name in ("map", "name")],
        "requestBody": {
            "required": True,
            "content": {f"image/{kind}": {} for kind in ("jpeg", "png", "webp", "gif")},
        },
        "responses": responses("Two pictures.", {JSON: {"schema": pictures}}),
    }
    feedback = {
        "summary": "Keeps what a user says of an answer, where the server offers that.",
        "requestBody": {"required": True, "content": {JSON: {"schema": _FEEDBACK}}},
        "responses": responses("It is kept.", {JSON: {"schema": {"type": "object"}}}),
    }
    return {"/v1/heatmaps": {"post": heatmaps}, "/v1/feedback": {"post": feedback}}
