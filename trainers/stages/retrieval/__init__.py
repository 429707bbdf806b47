"""Stages of trainings on photos of 3D models."""
