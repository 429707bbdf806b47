"""Pictures: curves, bars, matches, boxes and 3D models."""
