"""MRI operators: Fourier and Hartley transforms, masks, coils, non-Cartesian sampling."""
