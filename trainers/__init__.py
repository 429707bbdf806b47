"""Training recipes: functions that take a configuration, and a program each, `python -m trainers.pitts`."""
