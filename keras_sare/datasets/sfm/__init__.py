"""Photos of 3D models: what structure from motion knows of them, and its files."""
