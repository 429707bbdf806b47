"""Finished models of all kinds, as `trainers.evaluate` measures them: `open_evaluated(text)`."""
