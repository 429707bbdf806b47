"""Networks up to the layer that is pooled, one file each."""
