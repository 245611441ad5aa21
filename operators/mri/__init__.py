"""MRI: Fourier and Hartley transforms, masks, coil sensitivities, non-Cartesian sampling."""
