"""What entries of backbones are made of: their description, networks that several of them share, sources of weights."""
