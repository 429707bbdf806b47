"""Model versions: found in folders, compared with their manifests, loaded and run."""
