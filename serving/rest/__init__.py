"""TensorFlow Serving's REST interface over HTTP, and metrics for Prometheus."""
