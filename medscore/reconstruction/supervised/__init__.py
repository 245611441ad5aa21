"""Networks trained on pairs of measurements and images, for comparison with priors."""
