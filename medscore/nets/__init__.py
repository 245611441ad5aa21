"""Networks F(x, c): x (batch, channel, H, W), c (batch,) how noisy x is; the shape of x comes out.

What c is and what F predicts is :mod:`medscore.priors.preconditioning`'s to say; with that,
:class:`medscore.priors.network.NetworkPrior` turns every one of them into the same score s(x, t).
"""
