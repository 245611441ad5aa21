"""Shipped priors: weights, cards, recipes and loss logs."""
