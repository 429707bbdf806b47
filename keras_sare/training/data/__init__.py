"""What a run trains on: datasets together with what the model is fed for each of their images."""
