"""Image quality under named conventions: PSNR, SSIM and NMSE, and distances between images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
