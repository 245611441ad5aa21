"""Simulated radial and spiral scans, from the image to the file and back."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from local_networks import COMPLEX, local_prior

import medscore as ms
from medscore.datasets.volume import Source, Volume
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement, read_measurement, write_measurement
from medscore.measurements.simulation import simulate
from medscore.operators.base import Operator
from medscore.operators.mri.centre import scanner
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.noise_level import trajectory_ends
from medscore.registry.noise import noise_std_of

pytest.importorskip("finufft")
N = 24
ARMS = {"radial": 38, "spiral": 6}
"""Spokes that are a sample apart at their ends, and spirals, of N pixels."""

kinds = pytest.mark.parametrize("kind", list(ARMS))
scans = pytest.mark.parametrize(
    ("task", "options"), [("mri", {}), ("mri-multicoil", {"coils": 3})], ids=["one", "many"]
)
phases = pytest.mark.parametrize("phase", ["none", "random"])


def head(slices: int = 2, rows: int = N, columns: int = N) -> Volume:
    """Slices of a smooth ellipse with structure, in air."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    inside = 1 / (1 + np.exp(12 * (np.hypot(x / 0.6, y / 0.7) - 1)))
    images = [inside * (300 + 100 * np.cos(5 * x + k) * np.cos(4 * y)) for k in range(slices)]
    return Volume(
        np.stack(images).astype(np.float32), np.diag([-3.0, -3, 3, 1]), "MR",
        Source("array", "ab" * 32),
    )  # fmt: skip


def along(m: Measurement) -> NonuniformFourier | MulticoilNonuniform:
    operator = scanner(m.operator)
    assert isinstance(operator, NonuniformFourier | MulticoilNonuniform)
    return operator


def images(m: Measurement) -> torch.Tensor:
    """A^+ y of all slices."""
    return torch.cat(
        [m.operator.select([i]).pinv(torch.from_numpy(y)[None], tol=1e-4, max_iter=60).x
         for i, y in enumerate(m.data)]
    )  # fmt: skip


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


@kinds
@pytest.mark.parametrize("acceleration", [1.0, 2.0, 3.3, 7.0])
def test_the_acceleration_counts_arms(kind: str, acceleration: float) -> None:
    m = simulate(head(1), "mri", trajectory=kind, acceleration=acceleration)
    arms = along(m).diagonal.reshape(ARMS[kind], -1)
    assert bool((arms.all(1) == arms.any(1)).all())
    measured = arms.any(1)
    assert abs(int(measured.sum()) - ARMS[kind] / acceleration) <= 0.5
    places = torch.cat([measured.nonzero()[:, 0], torch.tensor([ARMS[kind]])])
    assert int(places.diff().max() - places.diff().min()) <= 1
    np.testing.assert_array_equal(m.data[..., ~along(m).diagonal.numpy()], 0)


@kinds
@scans
@phases
def test_a_complete_scan_without_noise_determines_the_image(
    kind: str, task: str, options: dict[str, Any], phase: str
) -> None:
    truth = head()
    m = simulate(truth, task, trajectory=kind, acceleration=1.0, phase=phase, **options)
    assert m.noise == "none"
    found = images(m)[:, 0]
    assert found.is_complex() == (phase == "random")
    assert relative(found.abs(), torch.from_numpy(truth.values)) < 0.02
    if phase == "random":
        assert relative(found, torch.from_numpy(truth.values)) > 0.3


@kinds
def test_images_that_are_not_square_are_measured_too(kind: str) -> None:
    truth = head(1, 20, 24)
    m = simulate(truth, "mri", trajectory=kind, acceleration=1.0)
    assert relative(images(m)[:, 0], torch.from_numpy(truth.values)) < 0.02


@kinds
@pytest.mark.parametrize("estimator", ["low-resolution", "espirit"])
def test_estimated_maps_are_close_to_the_known_ones(kind: str, estimator: str) -> None:
    truth = head()
    options: dict[str, Any] = {
        "trajectory": kind, "acceleration": 2.0 if kind == "radial" else 4.0, "coils": 3,
        "phase": "random", "noise": "gaussian:0.5",
    }  # fmt: skip
    known = simulate(truth, "mri-multicoil", **options)
    found = simulate(truth, "mri-multicoil", maps=estimator, **options)
    np.testing.assert_array_equal(known.data, found.data)

    def maps(m: Measurement) -> torch.Tensor:
        scan = along(m)
        assert isinstance(scan, MulticoilNonuniform)
        return scan.sensitivity.expand(2, -1, -1, -1)

    right, estimate = maps(known), maps(found)
    common = (estimate * right.conj()).sum(1, keepdim=True)
    aligned = estimate * common.conj() / common.abs().clamp_min(1e-12)
    signal = torch.from_numpy(truth.values > 200)[:, None].expand_as(right)
    assert relative(aligned[signal], right[signal]) < 0.2
    assert simulate(truth, "mri-multicoil", **options | {
        "maps": "low-resolution", "noise": "none"
    }).noise == "unknown"  # fmt: skip


@kinds
@scans
def test_a_slice_alone_is_that_of_the_volume(kind: str, task: str, options: dict[str, Any]) -> None:
    chosen = {"trajectory": kind, "phase": "random", "noise": "gaussian:1", "seed": 4, **options}
    if options:
        chosen |= {"maps": "low-resolution", "acceleration": 2.0}
    whole = simulate(head(2), task, **chosen)
    alone = simulate(head(1), task, **chosen)
    again = simulate(head(2), task, **chosen)
    np.testing.assert_array_equal(whole.data, again.data)
    np.testing.assert_array_equal(whole.data[:1], alone.data)
    other = simulate(head(2), task, **chosen | {"seed": 5})
    assert not np.array_equal(whole.data, other.data)
    assert torch.equal(along(whole).trajectory, along(other).trajectory)
    for name in ("zero-filled", "cg-sense"):
        parameters = {"iterations": 10} if name == "cg-sense" else {}
        both, one = (ms.reconstruct(m, method=name, parameters=parameters) for m in (whole, alone))
        np.testing.assert_allclose(both.mean[:1], one.mean, rtol=1e-3, atol=0.1)


@kinds
@scans
@phases
def test_a_scan_is_the_same_after_storage(
    kind: str, task: str, options: dict[str, Any], phase: str, tmp_path: Path
) -> None:
    if options:
        options = options | {"maps": "low-resolution"}
    m = simulate(
        head(), task, trajectory=kind, acceleration=2.0, phase=phase, noise="gaussian:1", **options
    )
    write_measurement(tmp_path / "m.h5", m)
    again = read_measurement(tmp_path / "m.h5")
    np.testing.assert_array_equal(m.data, again.data)
    assert repr(m.operator) == repr(again.operator)
    assert torch.equal(along(m).trajectory, along(again).trajectory)
    x = m.operator.adjoint(torch.from_numpy(m.data))
    y = m.operator.forward(x)
    torch.testing.assert_close(again.operator.forward(x), y)
    torch.testing.assert_close(again.operator.select([1]).forward(x[1:]), y[1:])
    assert (again.noise, again.task) == ("gaussian:1", task)


def test_files_of_data_with_other_axes_are_refused(tmp_path: Path) -> None:
    m = simulate(head(1), "mri", trajectory="radial")
    wrong = Measurement(**vars(m) | {"data": m.data[:, :, None]})
    with pytest.raises(MedscoreError, match=r"expected \(slices, coil, samples\)") as error:
        write_measurement(tmp_path / "m.h5", wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trajectory": "rosette"}, "`trajectory` is 'rosette' - use one of: cartesian, radial"),
        ({"trajectory": 3}, "`trajectory` is 3 - use cartesian, radial or spiral"),
        ({"trajectory": "radial", "mask": "random"}, "`mask` is 'random', a pattern of Cartesian"),
        ({"trajectory": "spiral", "mask": "variable-density"}, "leave `mask` out"),
        ({"trajectory": "radial", "acceleration": 0.5}, "`acceleration` is 0.5 - use 1 or more"),
        ({"trajectory": "radial", "acceleration": float("nan")}, "`acceleration` is nan"),
        ({"trajectory": "radial", "acceleration": 200.0}, "leaves none of 38 spokes - use at most"),
        ({"trajectory": "spiral", "acceleration": 20.0}, "leaves none of 6 arms"),
        ({"trajectory": "radial", "noise": "poisson:1e5"}, "counts no photons"),
        ({"trajectory": "radial", "phase": "both"}, "`phase` is 'both'"),
        ({"trajectory": "radial", "maps": "espirit", "acceleration": 10.0}, "coil maps cannot be"),
    ],
)
def test_invalid_scans_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MedscoreError) as error:
        simulate(head(1), "mri-multicoil", **{"coils": 2, **options})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_ct_has_no_trajectory() -> None:
    with pytest.raises(MedscoreError, match="`trajectory` is not an option of task sparse-ct"):
        simulate(head(1), "sparse-ct", trajectory="radial")


@pytest.mark.parametrize("task", ["mri", "mri-multicoil"])
def test_without_finufft_it_says_what_to_install(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(MedscoreError, match=r"needs the package finufft.*medscore\[nufft\]"):
        simulate(head(1), task, trajectory="radial")


@kinds
@scans
def test_zero_filling_has_the_brightness_of_the_image(
    kind: str, task: str, options: dict[str, Any]
) -> None:
    """The weights are those of the measured arms, not of all."""
    truth = torch.from_numpy(head(1).values)
    for acceleration, error in ((1.0, 0.05), (2.0, 0.25)):
        m = simulate(
            head(1), task, trajectory=kind, acceleration=acceleration, phase="random", **options
        )
        found = torch.from_numpy(ms.reconstruct(m, method="zero-filled").mean)
        assert relative(found, truth) < error
        assert abs(float((found * truth).sum() / truth.square().sum()) - 1) < 0.05


@pytest.mark.parametrize(
    ("kind", "task", "options"),
    [("radial", "mri", {}), ("spiral", "mri-multicoil", {"coils": 3})],
)
@pytest.mark.parametrize("method", ["adjoint", "cgls", "cg-sense", "fista-tv", "l1-wavelet"])
def test_baselines_reconstruct_it(
    kind: str, task: str, options: dict[str, Any], method: str
) -> None:
    m = simulate(
        head(1), task, trajectory=kind, acceleration=2.0, phase="random", noise="gaussian:1",
        **options,
    )  # fmt: skip
    parameters = {} if method == "adjoint" else {"iterations": 25}
    found = ms.reconstruct(m, method=method, parameters=parameters)
    assert found.complex_mean is not None
    truth = torch.from_numpy(head(1).values)
    assert relative(torch.from_numpy(found.mean), truth) < (0.9 if method == "adjoint" else 0.15)


@pytest.mark.parametrize("method", ["fbp", "li", "nmar", "sirt"])
def test_baselines_of_ct_refuse_it_in_one_line(method: str) -> None:
    m = simulate(head(1), "mri", trajectory="radial", phase="random")
    with pytest.raises(MedscoreError, match=f"{method} reconstructs CT projections") as error:
        ms.reconstruct(m, method=method)
    assert "\n" not in str(error.value)


@kinds
def test_the_ends_of_a_trajectory_tell_the_noise(kind: str) -> None:
    m = simulate(head(), "mri", trajectory=kind, acceleration=2.0, noise="gaussian:40")
    level = noise_std_of("estimate", m, "m")
    assert level is not None
    assert level.shape == (2, 1, 1)
    np.testing.assert_allclose(level.flatten(), 40, rtol=0.3)
    with pytest.raises(ValueError, match="at least 32"):
        trajectory_ends(torch.ones(1, 1, 8, dtype=torch.complex64), torch.ones(8), torch.rand(2, 8))


@kinds
@pytest.mark.parametrize(("prior", "maps"), [("magnitude", "known"), ("complex", "low-resolution")])
def test_a_prior_reconstructs_a_file(kind: str, prior: str, maps: str, tmp_path: Path) -> None:
    m = simulate(
        head(), "mri-multicoil", trajectory=kind, acceleration=2.0, phase="random", coils=3,
        maps=maps, noise="gaussian:1",
    )  # fmt: skip
    write_measurement(tmp_path / "m.h5", m)
    magnitude = {"modality": "MR", "quantity": "magnitude", "low": 0.0, "high": 1.0}
    given = local_prior(**(magnitude if prior == "magnitude" else COMPLEX))
    found = ms.reconstruct(read_measurement(tmp_path / "m.h5"), given, samples=1, steps=2)
    assert found.samples.shape == (2, 1, N, N)
    assert np.isfinite(found.samples).all()
    assert float(found.residual.max()) < 0.5


def test_spirals_have_a_centre_that_the_measured_arms_sample_completely() -> None:
    m = simulate(head(1), "mri", trajectory="spiral", acceleration=4.0)
    operator: Operator = along(m)
    assert isinstance(operator, NonuniformFourier)
    points = operator.trajectory[:, operator.diagonal] * (N / (2 * np.pi))
    grid = torch.cartesian_prod(*[torch.arange(-5.0, 5.5, 0.5, dtype=torch.float64)] * 2)
    inside = grid[grid.norm(dim=1) < 5]
    assert float(torch.cdist(inside, points.T).amin(1).max()) < 0.65
