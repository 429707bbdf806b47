"""Exports of a trained model: `python -m export`."""
