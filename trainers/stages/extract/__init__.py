"""Stages of `trainers.extract`: source, model, estimate, and shards of photos described by an engine."""
