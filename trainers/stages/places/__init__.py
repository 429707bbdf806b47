"""Stages of trainings on places."""
