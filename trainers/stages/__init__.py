"""Stages of the programs: what each of them does between its configuration and its results."""
