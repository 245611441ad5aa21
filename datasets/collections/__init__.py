"""Collections of images for training and evaluation."""
