"""From a Keras model to the files of a format, checked against the model: what TensorFlow and converters do."""
