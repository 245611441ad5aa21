"""Operators on natural images: inpainting, super-resolution, deblurring, colorization."""
