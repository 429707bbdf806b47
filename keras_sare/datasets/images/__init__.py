"""Image files: reading, decoding, orientation, resizing, and why a file cannot be used."""
