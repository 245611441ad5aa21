"""Networks trained on pairs of a measurement and its image: comparators for what a prior does."""
