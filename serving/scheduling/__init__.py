"""Which predictions are computed, when, and together with which: admission, batches, quotas. gRPC and REST share it."""
