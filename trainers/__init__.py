"""Training recipes, one program each: `python -m trainers.pitts`."""
