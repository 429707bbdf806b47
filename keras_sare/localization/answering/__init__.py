"""What answers are made of: candidates and positions in metres, and what calibrations say of them."""
