"""Collections of images: training slices, cohorts of evaluations, pictures."""
