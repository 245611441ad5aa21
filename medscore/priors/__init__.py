"""Score priors: analytic and network priors, data contracts, prior files and shipped weights."""
