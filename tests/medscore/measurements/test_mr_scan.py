"""Simulated MR scans: complex images, coil maps that are estimated as those of a scanner are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.coil_maps import coil_maps
from medscore.measurements.measurement import Measurement, read_measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.operators.grid import OperatorError
from medscore.operators.mri.multicoil import MulticoilFourier, sensitivity_of
from medscore.operators.mri.real_images import Phased

SIDE = 48


@pytest.fixture(scope="module")
def head() -> Volume:
    """Two slices of a smooth ellipse with structure, in air."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = 1 / (1 + np.exp(30 * (np.hypot(x / 0.7, y / 0.85) - 1)))
    slices = [inside * (300 + 100 * np.cos(5 * x + k) * np.cos(4 * y)) for k in range(2)]
    return Volume(
        np.stack(slices).astype(np.float32), np.diag([-3.0, -3, 3, 1]), "MR",
        Source("array", "ab" * 32),
    )  # fmt: skip


def images(m: Measurement) -> torch.Tensor:
    """A^+ y of all slices."""
    return torch.cat(
        [m.operator.select([i]).pinv(torch.from_numpy(y)[None]).x for i, y in enumerate(m.data)]
    )


@pytest.mark.parametrize(("task", "options"), [("mri", {}), ("mri-multicoil", {"coils": 4})])
def test_a_random_phase_changes_the_phase_alone(
    head: Volume, task: str, options: dict[str, int]
) -> None:
    m = simulate(head, task, acceleration=1.0, phase="random", **options)
    found = images(m)[:, 0]
    truth = torch.from_numpy(head.values)
    torch.testing.assert_close(found.abs(), truth, atol=0.5, rtol=0)
    assert float((found - truth).norm() / truth.norm()) > 0.3  # a phase of zero would give 0


def test_the_phase_depends_on_slice_and_seed_and_nothing_else(head: Volume) -> None:
    def data(seed: int) -> torch.Tensor:
        return torch.from_numpy(simulate(head, "mri", phase="random", seed=seed).data)

    assert torch.equal(data(1), data(1))
    assert not torch.equal(data(1), data(2))
    phases = [images(simulate(head, "mri", acceleration=1.0, phase="random"))[k, 0].angle()
              for k in range(2)]  # fmt: skip
    assert float((phases[0] - phases[1]).abs().mean()) > 0.1


def test_lines_and_their_mirror_lines_are_independent_only_with_a_phase(head: Volume) -> None:
    def hermitian(phase: str) -> float:
        k = torch.from_numpy(simulate(head, "mri", acceleration=1.0, phase=phase).data)[0, 0]
        inner = k[1:, 1:]  # of an even matrix, the first row and column have no mirror image
        return float((inner - inner.flip(0, 1).conj()).norm() / inner.norm())

    assert hermitian("none") < 1e-5
    assert hermitian("random") > 0.1


def test_the_real_image_of_a_scan_without_phase_has_a_real_operator(head: Volume) -> None:
    assert isinstance(simulate(head, "mri-multicoil", phase="none").operator, Phased)
    assert isinstance(simulate(head, "mri-multicoil", phase="random").operator, MulticoilFourier)


@pytest.mark.parametrize("estimator", ["low-resolution", "espirit"])
def test_with_estimated_maps_the_image_has_their_phase(head: Volume, estimator: str) -> None:
    """The maps of ESPIRiT are relative to a coil, so an image without a phase has the coil's."""
    options = {"coils": 4, "acceleration": 1.0, "noise": "gaussian:1", "maps": estimator}
    m = simulate(head, "mri-multicoil", phase="none", **options)
    assert isinstance(m.operator, MulticoilFourier)
    y = torch.from_numpy(m.data)
    x = m.operator.pinv(y).x
    assert float(m.operator.residual(x, y).max()) < 0.1


@pytest.mark.parametrize("phase", ["none", "random"])
@pytest.mark.parametrize("estimator", ["low-resolution", "espirit"])
def test_estimated_maps_are_close_to_the_known_ones(
    head: Volume, estimator: str, phase: str
) -> None:
    options = {"coils": 4, "acceleration": 1.0, "phase": phase, "noise": "gaussian:1"}
    known = simulate(head, "mri-multicoil", **options)
    found = simulate(head, "mri-multicoil", maps=estimator, **options)
    np.testing.assert_array_equal(known.data, found.data)
    assert found.noise == "gaussian:1"

    def maps(m: Measurement) -> torch.Tensor:
        inner = m.operator.inner if isinstance(m.operator, Phased) else m.operator
        s = sensitivity_of(inner)
        assert s is not None
        return s.expand(2, -1, -1, -1)

    truth, estimate = maps(known), maps(found)
    common = (estimate * truth.conj()).sum(1, keepdim=True)
    aligned = estimate * common.conj() / common.abs().clamp_min(1e-12)
    signal = torch.from_numpy(head.values > 150)[:, None].expand_as(truth)
    error = float((aligned - truth)[signal].norm() / truth[signal].norm())
    assert error < (0.15 if estimator == "low-resolution" else 0.08)


def test_what_estimated_maps_do_to_noise_free_data_is_unknown(head: Volume) -> None:
    assert simulate(head, "mri-multicoil", maps="low-resolution").noise == "unknown"
    assert simulate(head, "mri-multicoil", maps="known").noise == "none"


def test_a_scan_with_estimated_maps_is_the_same_after_storage(head: Volume, tmp_path: Path) -> None:
    options = {"maps": "espirit", "phase": "random", "acceleration": 1.0}
    m = simulate(head, "mri-multicoil", noise="gaussian:1", **options)
    write_measurement(tmp_path / "m.h5", m)
    again = read_measurement(tmp_path / "m.h5")
    torch.testing.assert_close(images(m), images(again))
    assert again.noise == "gaussian:1"


def test_a_centre_without_maps_is_refused_in_one_line(head: Volume) -> None:
    with pytest.raises(MedscoreError, match="coil maps cannot be estimated: `calib") as error:
        simulate(head, "mri-multicoil", maps="espirit", acceleration=4.0)
    assert "decrease `acceleration`" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_estimator_that_finds_no_signal_says_so() -> None:
    sampled = torch.zeros(32, 32, dtype=torch.bool)
    sampled[13:19, 13:19] = True
    noise = torch.randn(1, 4, 32, 32, 2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(OperatorError, match=r"espirit finds no signal in the fully .* 6 x 6"):
        coil_maps("espirit", torch.view_as_complex(noise) * sampled, sampled)
