"""The command line: ``medscore simulate | recon | demo | priors | train``."""

from medscore.cli.app import main

__all__ = ["main"]
