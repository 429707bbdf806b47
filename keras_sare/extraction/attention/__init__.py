"""What of a photo a model looks at."""
