"""benchmarks/mri.py on small synthetic data."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from coil_scan import COILS, N, scan
from local_networks import COMPLEX, write_prior

import medscore as ms
from medscore.evaluation.config import read_evaluation
from medscore.measurements.measurement import Measurement
from medscore.measurements.read import measure
from medscore.operators.mri.fourier import fft2c
from medscore.operators.mri.masks import acceleration_of
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.reconstruction.result import Reconstruction

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
from mri import GAINS, Chosen, adapted, gain  # noqa: E402
from mri_cost import measured  # noqa: E402
from mri_noise import air_noise  # noqa: E402
from mri_real import Case, kept_samples, real_numbers, reference_of, undersampled  # noqa: E402


def zero_filled(m: Measurement) -> Reconstruction:
    return ms.reconstruct(m, method="zero-filled")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with fully sampled k-space of a phantom, with noise."""
    kspace, maps, _ = scan()
    image = MulticoilFourier(maps, torch.ones(N, N)).T_inv(kspace)
    noise = torch.randn(2, COILS, N, N, generator=torch.Generator().manual_seed(0))
    full = fft2c(maps * image)[0] + 1e-3 * torch.complex(*noise)
    (tmp_path / "kspace").mkdir()
    np.save(tmp_path / "kspace" / "full.npy", full.numpy())
    return tmp_path


def whole(data: Path) -> Measurement:
    return measure(data / "kspace" / "full.npy", spacing=1.0, maps="espirit")[0]


def test_the_air_tells_the_noise() -> None:
    rng = np.random.default_rng(0)
    clean = np.zeros((64, 64))
    clean[20:44, 18:46] = 100.0
    noisy = np.abs(clean + 3 * (rng.normal(size=clean.shape) + 1j * rng.normal(size=clean.shape)))
    std, share = air_noise(noisy)
    assert std == pytest.approx(3, rel=0.1)
    assert share == pytest.approx(3 / np.quantile(noisy, 0.995), rel=0.1)
    assert np.isnan(air_noise(np.full((16, 16), 5.0))[0])


@pytest.mark.slow
@pytest.mark.parametrize("lines", [True, False])
def test_an_acceleration_counts_all_samples_that_are_kept(data: Path, lines: bool) -> None:
    m = whole(data)
    half = undersampled(m, kept_samples(m, 2.0, lines=True))
    for scanned, acceleration in ((m, 3.0), (half, 4.0)):
        mask = kept_samples(scanned, acceleration, lines=lines)
        assert acceleration_of(mask) == pytest.approx(acceleration, rel=0.05)
        assert not bool((mask & ~scanned.operator.diagonal.reshape(N, N)).any())
        assert bool(mask[N // 2 - 4 : N // 2 + 4, N // 2 - 4 : N // 2 + 4].all())
        assert bool((mask.all(0) | ~mask.any(0)).all()) == lines


@pytest.mark.slow
def test_every_method_of_a_measured_case_is_compared_with_its_reference(data: Path) -> None:
    pytest.importorskip("pygrappa", exc_type=ImportError)
    case = Case(
        "phantom", "full.npy", complete=True, accelerations=(2.0,), options={"spacing": 1.0}
    )
    kernels = ((5, 0.1), (99, 0.1))  # the second is refused
    found = {n.name: n for n in real_numbers(data, [case], zero_filled, (1e-3,), kernels)}
    for method in ("L1-wavelet", "GRAPPA", "medscore"):
        assert 0 < found[f"phantom, 2x: {method}, NMSE"].value < 0.5
    own, peer = (found[f"phantom, 2x: {m}, NMSE"].value for m in ("medscore", "L1-wavelet"))
    ratio = found["phantom, 2x: NMSE of medscore over L1-wavelet"]
    assert ratio.value == pytest.approx(own / peer)
    assert ratio.at_most == 1
    assert found["phantom, 2x: medscore minus GRAPPA, SSIM"].at_least == 0
    assert found["phantom, 2x: medscore, NMSE of the samples left out"].value > 0


@pytest.mark.slow
def test_the_reference_of_undersampled_kspace_is_near_that_of_all(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mri_real.DAMPING", (1e-2, 1e-1))
    m = whole(data)
    half = undersampled(m, kept_samples(m, 2.0, lines=True))
    full, found = reference_of(m), reference_of(half)
    assert ms.quality(found, full, "mr").nmse < 0.05


def test_a_comparison_takes_the_chosen_settings(tmp_path: Path) -> None:
    chosen = Chosen("p", "q", "fast", 2, 3, 1, tmp_path, tmp_path, tmp_path)
    spec = read_evaluation(adapted("mri", chosen, "q", tasks=("8x",)))
    assert [task.name for task in spec.tasks] == ["8x"]
    assert spec.cohort.limit == 1
    prior = next(m for m in spec.methods if m.name == spec.ours).prior
    assert prior is not None
    assert (prior.prior, prior.preset, prior.samples, prior.steps) == ("q", "fast", 2, 3)


def test_a_gain_is_compared_with_its_target() -> None:
    rows = {("4x", "medscore"): {"psnr_mean": "33"}, ("4x", "L1-wavelet"): {"psnr_mean": "30.5"}}
    found = gain("t", rows, "4x", "L1-wavelet", GAINS["4x"])
    assert found.value == pytest.approx(2.5)
    assert found.verdict == "NO"


@pytest.mark.slow
def test_the_time_of_a_reconstruction_is_that_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mri_cost.PEERS", {"cg-sense": {"weight": 0.03}})
    prior = write_prior(tmp_path / "any.safetensors", **COMPLEX)
    found = measured(str(prior), steps=2, side=80)
    assert found["nfe"] == 3
    assert 0 < found["network"] < found["total"]
    assert found["cg-sense"] > 0
