"""Collections of images: training slices, evaluation cohorts, natural images."""
