"""Weights of other projects: readers and writers of their files, and models rebuilt from them."""
