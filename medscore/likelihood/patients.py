"""The tests of contrast and residuals of each patient among many images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from medscore.likelihood.image_set import ImageGrid, ImageSet
from medscore.likelihood.typicality import Typical
from medscore.likelihood.unusual import Judgement, judge
from medscore.priors.network import NetworkPrior


def judge_patients(
    typical: Typical, on: Mapping[ImageGrid, NetworkPrior], found: ImageSet, device: str
) -> dict[str, tuple[Judgement, ...]]:
    """What the tests say about the images of each patient, by what outputs call the patient.

    Images of a patient on different grids are judged apart.

    Args:
        typical: statistics of the prior, with its tests.
        on: the prior on each grid of the images.
        found: the images.
        device: device of the prior.
    """
    if not typical.tests:
        return {}
    scans: dict[tuple[str, ImageGrid], list[int]] = {}
    for i, scan in enumerate(zip(found.groups, found.grids, strict=True)):
        scans.setdefault(scan, []).append(i)
    several = Counter(group for group, _ in scans)
    judged = {}
    for (group, grid), rows in scans.items():
        name = f"{group} ({grid})" if several[group] > 1 else group
        x = found.select(rows).x.to(device)
        contract = on[grid].contract
        prior, x = typical.seen(on[grid], x)
        judged[name] = () if contract is None else judge(typical.tests, prior, contract, x)
    return judged
