"""Fan beams with a detector that is a quarter of a detector beside the middle."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.raw.projections import read_projections
from medscore.measurements.from_ct import from_projections
from medscore.reconstruction.baselines.classical import classical

R, D, PITCH, DETECTORS, VIEWS, SIZE, SPACING = 300.0, 600.0, 4.0, 20, 120, 64, 0.5
WIDTH = 0.55
DOTS = [(x, y) for x in np.arange(-6.6, 7, 2.2) for y in (-4.0, 4.0)]
"""Centres in mm of Gaussian rods, which are finer than a detector at the axis, 2 mm."""


def scan(offset: float, shape: str) -> NDArray[np.float32]:
    """Exact line integrals, averaged over the width of each detector."""
    fine = 8
    places = (np.arange(DETECTORS * fine) - (DETECTORS * fine - 1) / 2) * PITCH / fine + offset
    gamma = np.arctan(places / D) if shape == "flat" else places / D
    beta = 2 * np.pi * np.arange(VIEWS)[:, None] / VIEWS
    # the central ray (-sin, cos), turned towards the detector axis (cos, sin)
    along = np.stack(
        [-np.sin(beta) * np.cos(gamma) + np.cos(beta) * np.sin(gamma),
         np.cos(beta) * np.cos(gamma) + np.sin(beta) * np.sin(gamma)], -1,
    )  # fmt: skip
    total = np.zeros((VIEWS, DETECTORS * fine))
    for x, y in DOTS:
        dx, dy = x - R * np.sin(beta), y + R * np.cos(beta)
        distance = dx * along[..., 1] - dy * along[..., 0]
        total += np.exp(-(distance**2) / (2 * WIDTH**2))
    return total.reshape(VIEWS, DETECTORS, fine).mean(-1).astype(np.float32)


def likeness(folder: Path, offset: float, shape: str) -> float:
    """Correlation of the reconstruction with the rods."""
    np.save(folder / "s.npy", scan(offset, shape))
    fields = {
        "beam": "fan", "views": VIEWS, "source_distance": R, "detector_distance": D,
        "detector_spacing": PITCH, "detector_shape": shape, "detector_offset": offset,
        "size": SIZE, "spacing": SPACING,
    }  # fmt: skip
    made = from_projections(read_projections(folder / "s.npy", fields), folder / "s.npy")
    name, image = classical(made)
    assert name == "FBP"
    row, column = np.mgrid[:SIZE, :SIZE]
    x, y = (column - (SIZE - 1) / 2) * SPACING, ((SIZE - 1) / 2 - row) * SPACING
    truth = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * WIDTH**2)) for a, b in DOTS)
    return float(np.corrcoef(image[0].ravel(), np.asarray(truth).ravel())[0, 1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the detector covers")
@pytest.mark.parametrize("shape", ["flat", "curved"])
def test_a_quarter_of_a_detector_resolves_what_a_centred_one_does_not(
    tmp_path: Path, shape: str
) -> None:
    """Opposite rays then lie between each other, so they sample twice as finely."""
    centred = likeness(tmp_path, 0.0, shape)
    for offset in (PITCH / 4, -PITCH / 4):
        assert likeness(tmp_path, offset, shape) > centred + 0.05
