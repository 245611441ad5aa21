"""Every baseline by its name: it runs on the tasks that it supports and rejects the others."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate_scan
from medscore.measurements.tasks import Choices
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.build import baseline
from medscore.reconstruction.baselines.methods import BASELINES

N = 24
CT, MR = ("sparse-ct", "mar", "sparse-mar"), ("mri", "mri-multicoil")
ANY = (*CT, *MR, "deblur")
MADE_FOR = {
    "fbp": CT, "li": CT, "nmar": CT, "sirt": CT, "cg-sense": MR,
    "grappa": ("mri-multicoil",),
    "zero-filled": ANY, "adjoint": ANY, "cgls": ANY, "fista-tv": ANY, "l1-wavelet": ANY,
}  # fmt: skip
SHORT: dict[str, dict[str, float]] = {
    "grappa": {"width": 3, "weight": 1e-3},
    "fista-tv": {"iterations": 30},
    "l1-wavelet": {"iterations": 30},
    "sirt": {"iterations": 20},
}
BLIND = {"fbp": ("mar", "sparse-mar"), "zero-filled": CT, "adjoint": ANY}
"""Baselines that take missing data as zero, which makes the image unrecognisable."""
CASES = [(kind, task) for kind, tasks in MADE_FOR.items() for task in tasks]
REFUSED = [(kind, task) for kind, tasks in MADE_FOR.items() for task in ANY if task not in tasks]


def image(modality: str) -> NDArray[np.float32]:
    """Two slices (2, N, N), in HU or as magnitudes up to 900."""
    y, x = np.mgrid[-11.5:12, -11.5:12]
    body = 1.0 * (np.hypot(x, y) < 10) + 0.5 * (np.hypot(x - 4, y + 2) < 3)
    slices = np.stack([body, body * (np.hypot(x + 4, y) > 2)])
    return (600 * slices if modality == "MR" else 1000 * slices - 1000).astype(np.float32)


@cache
def measured(task: str, brighter: float = 1.0) -> Measurement:
    """A scan of the task; of CT images if the task supports both modalities."""
    if "mar" in task:
        for package in ("spekpy", "xraydb"):
            pytest.importorskip(package)
    modality = "MR" if task in MR else "CT"
    affine, source = np.diag([8.0, 8.0, 8.0, 1.0]), Source("nifti", "", {}, ())
    volume = Volume(brighter * image(modality), affine, modality, source)
    choices = Choices(views=12, coils=3, acceleration=2.0)
    return simulate_scan(volume, task, choices, noise_name="none", seed=0)


def asked(kind: str) -> Baseline:
    if kind == "grappa":
        pytest.importorskip("pygrappa", exc_type=ImportError)
    return baseline(kind, SHORT.get(kind, {})).solver


def test_the_cases_are_all_of_them() -> None:
    assert set(MADE_FOR) == set(BASELINES)


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_every_baseline_reconstructs_the_tasks_it_is_made_for(kind: str, task: str) -> None:
    m = measured(task)
    found = asked(kind).reconstruct(m)
    assert found.samples.shape == (2, 1, N, N)
    assert found.residual.shape == (2, 1)
    assert np.isfinite(found.samples).all()
    assert found.nfe == 0
    truth = image(m.modality)
    error = np.sqrt(np.mean((found.samples[:, 0] - truth) ** 2)) / np.ptp(truth)
    assert error < 0.25 or task in BLIND.get(kind, ())


@pytest.mark.parametrize(("kind", "task"), REFUSED)
def test_a_baseline_refuses_what_it_is_not_made_for(kind: str, task: str) -> None:
    with pytest.raises(MedscoreError, match=f"^{kind} reconstructs .* - use "):
        asked(kind).reconstruct(measured(task))


@pytest.mark.parametrize(("kind", "task"), [(kind, task) for kind, task in CASES if task in MR])
def test_magnitudes_scale_with_the_scanners_unit(kind: str, task: str) -> None:
    one, two = (asked(kind).reconstruct(measured(task, factor)).samples for factor in (1.0, 2.0))
    np.testing.assert_allclose(two, 2 * one, atol=1e-3 * 600)


@pytest.mark.parametrize("kind", [k for k, c in BASELINES.items() if c.weighted])
def test_noise_is_taken_into_account(kind: str) -> None:
    """Equal noise standard deviations change nothing; different ones change the result."""
    m = measured(MADE_FOR[kind][0])
    shape = m.data[:1].shape
    alike, differing = torch.full(shape, 0.01), torch.full(shape, 0.01)
    differing[..., : shape[-1] // 2] *= 100
    plain, same, other = (
        asked(kind).reconstruct(m, noise).samples for noise in (None, alike, differing)
    )
    np.testing.assert_allclose(same, plain, atol=0.01 * np.ptp(plain))
    assert np.abs(other - plain).max() > 1e-3 * np.ptp(plain)


def test_an_empty_slice_stays_empty() -> None:
    data = measured("mri").data.copy()
    data[1] = 0
    found = asked("fista-tv").reconstruct(replace(measured("mri"), data=data)).samples
    assert found[1].max() == 0
    assert found[0].max() > 0


@pytest.mark.parametrize(
    ("kind", "parameters", "why"),
    [
        ("magic", {}, "no baseline 'magic' - use one of: fbp, li"),
        ("fbp", {"window": "tukey"}, "baseline fbp: window is 'tukey' - use one of ram-lak"),
        ("li", {"window": "hann"}, "li has no parameter 'window' - it takes no parameters"),
        ("fista-tv", {"weight": 0}, "fista-tv: weight is 0 - use a number, > 0"),
        ("fista-tv", {"weight": float("nan")}, "weight is nan"),
        ("sirt", {"relaxation": 2}, r"relaxation is 2 - use a number in \(0, 2\)"),
        ("cgls", {"iterations": 0}, "iterations is 0"),
        ("cg-sense", {"weight": -1}, "weight is -1"),
        ("grappa", {"width": 8}, "width: .*8 is even: use an odd number"),
        ("grappa", {"readout": 4}, "readout: .*4 is even"),
        ("l1-wavelet", {"wavelet": "bior2.2"}, "bior2.2.* is not an orthogonal wavelet"),
        ("l1-wavelet", {"wavelet": "none"}, "'none' is not an orthogonal wavelet"),
        ("nmar", {"soft": -950}, "soft is -950 HU, below air"),
        ("nmar", {"floor": 0}, "floor is 0"),
        ("fbp", ["window"], "`set` 'window' - use NAME=VALUE"),
    ],
)
def test_refuses_parameters_on_one_line(kind: str, parameters: Any, why: str) -> None:
    with pytest.raises(MedscoreError, match=why) as caught:
        baseline(kind, parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", BASELINES)
def test_parameters_come_back_from_what_is_written(kind: str) -> None:
    written = asked(kind).model_dump(exclude={"kind"})
    assert baseline(kind, written).solver == asked(kind)
