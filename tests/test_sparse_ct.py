"""The protocols and the page of benchmarks/sparse_ct.py."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medscore.datasets.fit import reduce
from medscore.datasets.volume import Source, Volume, centred_affine
from medscore.hounsfield import hu_to_mu
from medscore.measurements.measurement import Measurement
from medscore.reconstruction.result import Reconstruction
from medscore.registry.settings import DEFAULTS, Settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import prior_quality  # noqa: E402
import sparse_ct  # noqa: E402
from number import Number, to_json  # noqa: E402
from sparse_ct import NOISE, PHOTONS, THESIS, page, parts, reconstruction_numbers, scan  # noqa: E402


def disc(side: int = 256) -> Volume:
    """A disc of soft tissue with a cold half."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    hu = np.where(x**2 + y**2 < 0.6, np.where(x > 0, 40.0, -800.0), -1000.0).astype(np.float32)
    affine = centred_affine(side, side, (400 / side, 400 / side, 1.0))
    return Volume(hu[None], affine, "CT", Source("array", ""))


def test_only_the_thesis_protocol_is_an_inverse_crime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_ct, "SIZE", 64)
    v = disc(128)
    mu = torch.from_numpy(hu_to_mu(reduce(v, 64).values)).float()[None]
    gaps = {}
    for protocol in NOISE:
        m = scan(v, protocol)
        y = torch.from_numpy(m.data)
        gaps[protocol] = float(m.operator.residual(mu, y))
        assert m.size == (64, 64)
        assert m.noise == {PHOTONS: "estimate:uniform+poisson:100000", THESIS: "none"}[protocol]
    assert gaps[THESIS] < 1e-6
    assert gaps[PHOTONS] > 3e-3


def poor(m: Measurement, settings: Settings, samples: int, batch_size: int) -> Reconstruction:
    """Images of air that do not fit the data."""
    images = np.full((1, samples, *m.size), -1000.0, np.float32)
    return Reconstruction(images, np.full((1, samples), 0.5), 50, 10, (), 1.0, m)


def test_the_quality_of_priors_is_that_of_the_thesis_protocol(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = []

    def run(m: Measurement, *settings: Any, **more: Any) -> Reconstruction:
        measured.append(m.noise)
        return poor(m, *settings, **more)

    monkeypatch.setattr(prior_quality, "ct_images", lambda data: ("slices", [Path("a")], True))
    monkeypatch.setattr(prior_quality, "ct_volumes", lambda paths, size: [reduce(disc(), size)])
    monkeypatch.setattr(prior_quality, "reconstruct_ct", run)
    found = prior_quality.ct_numbers("ct-128", Path("data"), 2, targets=(34.6, 33.4))
    assert measured == ["none"]
    assert all(n.name.startswith(f"ct-128, 1 slices, 23 views, {THESIS}, ") for n in found)
    assert [n.at_least for n in found] == [33.4, 34.6, None]


@pytest.mark.parametrize("validation", [True, False])
def test_quality_and_residual_have_targets_in_the_thesis_protocol(
    monkeypatch: pytest.MonkeyPatch, validation: bool
) -> None:
    monkeypatch.setattr(sparse_ct, "SIZE", 64)
    monkeypatch.setattr(sparse_ct, "ct_volumes", lambda paths: [disc(128)])
    monkeypatch.setattr(sparse_ct, "run", poor)
    missed = {
        protocol: [
            n.name.removeprefix(f"{protocol}: ")
            for n in reconstruction_numbers(
                [Path("a")], DEFAULTS, 2, protocol, validation=validation
            )
            if n.verdict == "NO"
        ]
        for protocol in NOISE
    }
    gain = "gain of the mean of 2 over FBP (dB)"
    quality = [
        "one sample, PSNR (dB)",
        "one sample, SSIM",
        "mean of 2, PSNR (dB)",
        "mean of 2, SSIM",
    ]
    assert missed[PHOTONS] == [gain]
    assert missed[THESIS] == [*(quality if validation else []), gain, "largest relative residual"]


def test_the_page_has_a_part_for_each_protocol() -> None:
    names = parts([], DEFAULTS, 8, validation=True)
    found = {
        "images": "slices", "settings": DEFAULTS.record(), "metric": "m", "machine": "m",
        "parts": {name: to_json([Number(f"number of {name}", 1.0)]) for name in names},
    }  # fmt: skip
    head, exact, photons, thesis = page(found).split("\n## ")
    assert [part.splitlines()[0] for part in (exact, photons, thesis)] == [
        "Exactness", "1e5 photons", "Thesis protocol",
    ]  # fmt: skip
    assert all(
        f"| number of {n} | 1 |" in p for n, p in zip(names, (exact, photons, thesis), strict=True)
    )
    assert [("inverse crime" in p) for p in (head, exact, photons, thesis)] == [False] * 3 + [True]
    assert "noise-free" not in head
