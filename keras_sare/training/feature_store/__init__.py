"""The stored output of the frozen layers."""
