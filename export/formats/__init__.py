"""Formats of an artefact: SavedModel, TFLite, ONNX and .keras."""
