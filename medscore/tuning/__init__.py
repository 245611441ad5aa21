"""Parameter search for reconstruction methods, with references or from the measurements alone."""
