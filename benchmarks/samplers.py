"""All samplers: error against network evaluations, and the overhead of the engine.

    python benchmarks/samplers.py                 # prints the tables
    python benchmarks/samplers.py --json out.json
    python benchmarks/samplers.py --check         # exit code 1 if a target is missed
    python benchmarks/samplers.py --page docs/benchmarks/samplers.md   # and the two plots beside it
    python benchmarks/samplers.py --from-json out.json --page docs/benchmarks/samplers.md

1. On a mixture of three Gaussians, whose score is exact: sliced 2-Wasserstein distance of 50,000
   samples to p_eps, starting from the exact p_1, on VE, VP and sub-VP. The fast samplers are
   compared with Euler-Maruyama at 500 evaluations in the same run.
2. On the shipped CT prior: distance of 8 images, and of their power spectra, from an accurate
   solution of the probability flow.
3. Time of the engine beyond that of the network's forward passes, timed inside the same run.
4. Fig. 5.3 of Song 2022: mode weights by Langevin and by annealed Langevin dynamics.

Needs no data. Takes 20 to 30 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import chain
from pathlib import Path

from number import exit_code, from_json, machine, show, to_json
from sampler_entries import SAMPLERS, SDES
from samplers_images import image_errors, overhead_numbers
from samplers_mixture import DRAWS, fast_numbers, mixture_errors, modes
from samplers_page import page, plots


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--page", type=Path, help="write the Markdown page and its plots here")
    parser.add_argument("--from-json", type=Path, help="use stored results instead of a new run")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    args = parser.parse_args()
    if args.from_json:
        found = json.loads(args.from_json.read_text())
        numbers = show(from_json(found["numbers"]))
    else:
        fast = (number for label, sde in SDES.items() for number in fast_numbers(label, sde))
        numbers = show(chain(fast, overhead_numbers()))
        found = {
            "sdes": {name: repr(sde) for name, sde in SDES.items()},
            "odes": [name for name, entry in SAMPLERS.items() if entry.ode],
            "draws": DRAWS,
            "machine": machine(),
            "mixture": mixture_errors(),
            "modes": modes(),
            "images": image_errors(),
            "numbers": to_json(numbers),
        }
    if args.json:
        args.json.write_text(json.dumps(found) + "\n")
    if args.page:
        args.page.write_text(page(found, numbers))
        plots(found, args.page.parent)
    return exit_code(numbers, check=args.check)


if __name__ == "__main__":
    sys.exit(main())
