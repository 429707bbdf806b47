"""Places: lists of photos with positions, and who is near whom."""
