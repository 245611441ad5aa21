"""How likely images are under a prior: exactly by the probability flow, and bounded by the loss."""
