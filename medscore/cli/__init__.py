"""The command line: ``medscore simulate | recon | demo | priors | train``, and others."""

import sys


def main() -> None:
    """:func:`medscore.cli.app.main`; Ctrl-C ends it while it is loaded, too."""
    try:
        from medscore.cli.environment import prepare

        prepare()  # before torch is imported
        from medscore.cli import app
    except KeyboardInterrupt:
        sys.exit(130)
    app.main()
