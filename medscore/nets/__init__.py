"""Networks F(x, c): images x (batch, channel, H, W) and a condition c (batch,) to images like x.

The condition describes the noise level of x. What c is and what F predicts is set by
:mod:`medscore.priors.preconditioning`, with which :class:`medscore.priors.network.NetworkPrior`
obtains the same denoiser and score from every network. The names are loaded when they are first
used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
