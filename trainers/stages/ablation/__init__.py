"""Stages of `trainers.ablation`: the grid, its runs, what their models answer, and the tables."""
