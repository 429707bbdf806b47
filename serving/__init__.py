"""Serves the exported embedding model through TensorFlow Serving's gRPC interface, and calls it.

`python -m serving --model FOLDER` starts the embedded server, `serving.client.EmbeddingClient` talks to it or to
TensorFlow Serving, whose configuration for the same export is in `serving/tf_serving`.
"""
