"""Images without measurements: latent codes, and how good samples are."""
