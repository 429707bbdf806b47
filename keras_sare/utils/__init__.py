"""Small things that every package may use: atomic files, progress bars."""
