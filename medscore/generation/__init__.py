"""Images without measurements: samples of a class, latent codes, and how good samples are."""
