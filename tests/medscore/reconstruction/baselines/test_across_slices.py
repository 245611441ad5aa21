"""Total variation of the slices of a volume together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import medscore as ms
from medscore.datasets.volume import Source, Volume
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate
from medscore.measurements.units import UNIT_RANGE, NetworkUnits
from medscore.operators.wrappers.stack import Stack
from medscore.reconstruction.baselines.total_variation import total_variation

SIDE, SLICES, WEIGHT = 12, 4, 1e-2


def scan(task: str = "sparse-ct", *, alike: bool = False, **options: object) -> Measurement:
    z, y, x = np.mgrid[-1 : 1 : SLICES * 1j, -1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = x**2 + y**2 + (0.0 if alike else 0.5) * z**2 < 0.8
    values = np.where(inside, 40 + 200 * (x > 0.2), -1000).astype(np.float32)
    modality = "MR" if task == "mri" else "CT"
    values = values if modality == "CT" else (values + 1000) / 1000
    volume = Volume(values, np.diag([-2.0, -2.0, 1.0, 1.0]), modality, Source("array", "ab" * 32))
    return simulate(volume, task, **options)  # type: ignore[arg-type]


def solved(m: Measurement, *, together: bool, iterations: int = 100) -> ms.Reconstruction:
    parameters = {"weight": WEIGHT, "iterations": iterations, "inner": 10}
    parameters["across_slices"] = together
    return ms.reconstruct(m, method="fista-tv", parameters=parameters, noise="none")


def objective(m: Measurement, r: ms.Reconstruction) -> float:
    """What 3-D total variation minimises."""
    units = NetworkUnits.of(UNIT_RANGE["CT"], m)
    y = units.measurements(m.operator, torch.from_numpy(m.data))
    stack = Stack(m.operator, SLICES)
    x = stack.to_volume((torch.from_numpy(r.samples) + 1000) / 2500)
    y = stack.to_volume(y)
    size = float(stack.norm_squared(y))
    data = 0.5 * float((stack.forward(x) - y).square().sum()) / size
    return data + WEIGHT * float(total_variation(x))


@pytest.mark.slow
def test_slices_together_have_a_smaller_objective_of_the_volume() -> None:
    m = scan(views=6)
    together, apart = solved(m, together=True), solved(m, together=False)
    assert objective(m, together) < 0.98 * objective(m, apart)
    longer = solved(m, together=True, iterations=300)
    assert objective(m, together) <= objective(m, longer) * (1 + 1e-3)


@pytest.mark.slow
def test_equal_slices_are_as_by_themselves() -> None:
    """Differences between slices cost nothing then, and the minimum is that of every slice."""
    m = scan(views=6, alike=True)
    together, apart = (solved(m, together=each, iterations=300) for each in (True, False))
    np.testing.assert_allclose(together.mean, apart.mean, atol=10)  # HU


def test_the_noise_of_each_slice_is_its_own() -> None:
    """With photon noise, whose deviation differs between rays and slices."""
    m = scan(views=6, noise="poisson:1e5")
    r = ms.reconstruct(m, method="fista-tv", parameters={"across_slices": True, "iterations": 20})
    assert r.mean.shape == (SLICES, SIDE, SIDE)
    assert r.operator_calls < 150  # of the volume, not of each slice


@pytest.mark.slow
def test_magnitudes_of_all_slices_have_one_unit() -> None:
    """A slice that is twice as bright is reconstructed twice as bright, times its neighbours."""
    m = scan("mri", alike=True, acceleration=2)
    plain = ms.reconstruct(
        m, method="fista-tv", parameters={"across_slices": True, "iterations": 50}
    )
    double = replace(m, data=(2 * m.data).astype(m.data.dtype))
    r = ms.reconstruct(
        double, method="fista-tv", parameters={"across_slices": True, "iterations": 50}
    )
    np.testing.assert_allclose(r.mean, 2 * plain.mean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("task", ["sparse-ct", "mri"])
def test_one_slice_is_as_without(task: str) -> None:
    m = scan(task)
    one = replace(m, data=m.data[:1], operator=m.operator.select([0]))
    a, b = (solved(one, together=each, iterations=20) for each in (True, False))
    np.testing.assert_array_equal(a.mean, b.mean)
