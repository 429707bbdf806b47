"""Mining of photos of 3D models: positives m1, m2, m3, and negatives N1 and N2."""
