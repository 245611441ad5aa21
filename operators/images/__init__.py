"""Operators in pixel space: inpainting, super-resolution, deblurring, colorization."""
