"""The table of all baselines by name.

A new baseline is a new file and a new line here.
"""

from __future__ import annotations

from medscore.registry.table import Table

_B = "medscore.reconstruction.baselines."

BASELINES = Table(
    "baseline",
    {
        "fbp": _B + "fbp:FBP",
        "li": _B + "interpolation:LI",
        "nmar": _B + "nmar:NMAR",
        "zero-filled": _B + "zero_filled:ZeroFilled",
        "adjoint": _B + "adjoint:Adjoint",
        "cgls": _B + "least_squares:CGLS",
        "sirt": _B + "least_squares:SIRT",
        "cg-sense": _B + "sense:CGSense",
        "grappa": _B + "grappa:GRAPPA",
        "fista-tv": _B + "total_variation:FISTATV",
        "l1-wavelet": _B + "wavelet:L1Wavelet",
    },
)
