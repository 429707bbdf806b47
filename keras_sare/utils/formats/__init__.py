"""File formats: MATLAB, HDF5 and pickles, read without running anything in them."""
