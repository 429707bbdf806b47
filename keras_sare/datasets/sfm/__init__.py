"""Photos of 3D models: what structure from motion tells about them, and its files."""
