"""How near an artefact comes to the Keras model."""
