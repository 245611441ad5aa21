"""``python -m medscore``: the command line, also for torchrun."""

from medscore.cli import main

if __name__ == "__main__":
    main()
