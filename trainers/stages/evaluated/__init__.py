"""Finished models of all kinds, as `trainers.evaluate` measures them: `open_models.open_models(config)`."""
