"""Image quality under named conventions: PSNR, SSIM, NMSE, and distances between images."""
