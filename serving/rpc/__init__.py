"""TensorFlow Serving's gRPC services, and the server around them."""
