"""Query expansion, diffusion and k-reciprocal neighbours."""
