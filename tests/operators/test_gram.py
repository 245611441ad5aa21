"""Data consistency in the space of the measurements: exact solutions, and few iterations."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medscore.operators.base import Operator
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit
from medscore.operators.ct.fan import FanBeam
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.ray_gram import overlap
from medscore.operators.ct.scans import fan_sparse_view, limited_angle, sparse_view
from medscore.operators.gram import Gram, damped_by_rows
from medscore.operators.linalg import damped
from medscore.operators.mri.fourier import Fourier
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled
from medscore.operators.wrappers.restricted import Restricted
from medscore.operators.wrappers.whitened import Whitened

SIDE = 24


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def halved(operator: Operator) -> Resampled:
    """The operator on images of half as many, larger pixels."""
    n = operator.image_shape[-1]
    up = torch.eye(n // 2, dtype=torch.float64).repeat_interleave(2, 0)
    return Resampled(operator, up, up, up.T / 2, up.T / 2)


def blank(operator: Operator) -> Tensor:
    """Measurements of zeros."""
    shape = operator.grid_shape if len(operator.grid_shape) > 2 else (1, *operator.grid_shape)
    return torch.zeros(1, *shape, dtype=torch.float64)


def whitened(operator: Operator) -> Whitened:
    return Whitened(operator, random(1, 1, *operator.grid_shape).exp())


def fan() -> Radon:
    return fan_sparse_view(SIDE, 2.0, 12, source_distance=200.0, detector_distance=300.0)


def half() -> Tensor:
    """Every second detector of 12 views on their grid."""
    rays = sparse_view(SIDE, 2.0, 12)
    return (torch.arange(rays.grid_shape[-1]) % 2 == 0).expand(rays.grid_shape)


def cone() -> ConeBeam:
    grid = VoxelGrid((6, 12, 12), (2.0, 2.0, 2.0))
    angles = [2 * math.pi * view / 9 for view in range(9)]
    scan = circular_orbit(
        grid, angles, source_distance=200.0, detector_distance=300.0, rows=8, columns=18,
        pitch=(3.0, 3.0),
    )  # fmt: skip
    return ConeBeam(scan, torch.ones(9, 1, 1, dtype=torch.bool))


OPERATORS = {
    "cone": cone,
    "parallel": lambda: sparse_view(SIDE, 2.0, 12),
    "limited arc": lambda: limited_angle(SIDE, 2.0, 0.0, math.pi / 3),
    "fan": fan,
    "whitened": lambda: whitened(sparse_view(SIDE, 2.0, 12)),
    "padded": lambda: Padded(sparse_view(SIDE, 2.0, 12), 20, 18),
    "resampled": lambda: halved(sparse_view(SIDE, 2.0, 12)),
    "restricted": lambda: Restricted(sparse_view(SIDE, 2.0, 12), half()),
    "scaled": lambda: 3.0 * sparse_view(SIDE, 2.0, 12),
}


def rows_of(operator: Operator) -> Tensor:
    """A as a matrix (measurements, pixels), of the measured rows only."""
    *depth, height, width = operator.image_shape
    count = height * width * math.prod(depth)
    shape = (1, *depth[1:], height, width)
    pixels = torch.eye(count, dtype=torch.float64).reshape(-1, *shape)
    columns = operator.forward(pixels)
    kept = operator.mask(columns).expand(columns[:1].shape).bool()
    return columns.reshape(len(pixels), -1).T[kept.flatten()]


def measured(operator: Operator, z: Tensor) -> Tensor:
    """The measured numbers of (batch, channel, views, detectors) as (batch, numbers)."""
    kept = operator.mask(z).expand(z[:1].shape).bool()
    return z.flatten(1)[:, kept.flatten()]


@pytest.mark.parametrize("name", OPERATORS)
def test_norms_are_those_of_the_rows(name: str) -> None:
    """Within the variation of Joseph's weights with the direction; short rays vary more."""
    operator = OPERATORS[name]()
    like = blank(operator)
    gram = operator.gram(like)
    assert gram is not None
    theirs = rows_of(operator).square().sum(1)
    ours = measured(operator, gram.norms.expand(like.shape))[0]
    assert bool((ours >= 0).all())
    long = theirs > 0.5 * theirs.max()
    assert int(long.sum()) > 3
    ratio = (ours / theirs)[long]
    assert float(ratio.max()) < 1.5
    assert float(ratio.min()) > 0.5
    least = 0.6 if name == "cone" else 0.8  # rows that see the middles of slices do not interpolate
    assert least < float(ratio.median()) < 1.2


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("share", [0.0, 0.1, 10.0])
def test_the_inverse_is_symmetric_and_positive(name: str, share: float) -> None:
    operator = OPERATORS[name]()
    like = blank(operator)
    gram = operator.gram(like)
    assert gram is not None
    kept = operator.mask(like).expand(like.shape).bool().flatten()
    units = torch.eye(kept.numel(), dtype=torch.float64)[kept].reshape(-1, *like.shape[1:])
    damping = share * float(rows_of(operator).square().sum(1).mean())
    found = gram.inverse(torch.tensor([damping], dtype=torch.float64))(units).flatten(1)
    inverse = found[:, kept]
    torch.testing.assert_close(inverse, inverse.T, rtol=1e-9, atol=1e-12)
    assert float(torch.linalg.eigvalsh(inverse).min()) > -1e-12 * float(inverse.abs().max())
    if share == 10:  # the noise dominates: the inverse is 1 / (D + delta) up to the filter
        expected = 1 / (measured(operator, gram.norms.expand(like.shape))[0] + damping)
        assert 0.4 < float((inverse.diagonal() / expected).median()) < 1


@pytest.mark.parametrize("damping", [0.0, 0.3, 50.0])
def test_solutions_are_exact_for_a_dense_matrix(damping: float) -> None:
    a, b = random(2, 7, 12, seed=1), random(2, 7, seed=2)
    delta = torch.full((2,), damping, dtype=torch.float64)
    found = damped_by_rows(
        lambda x: (a @ x[..., None])[..., 0], lambda y: (a.mT @ y[..., None])[..., 0], b, delta,
        lambda r: r / (a.square().sum(-1) + damping), tol=1e-12, max_iter=50,
    )  # fmt: skip
    eye = torch.eye(7, dtype=torch.float64)
    exact = a.mT @ torch.linalg.solve(a @ a.mT + damping * eye, b[..., None])
    torch.testing.assert_close(found, exact[..., 0], rtol=1e-9, atol=1e-9)


def test_samples_do_not_influence_each_other() -> None:
    operator = whitened(sparse_view(SIDE, 2.0, 12))
    y = operator.forward(random(3, 1, SIDE, SIDE)) + operator.mask(random(1)) * random(
        3, 1, *operator.grid_shape, seed=3
    )
    x, damping = random(3, 1, SIDE, SIDE, seed=4), torch.tensor([1e-3, 1.0, 1e3])
    together = operator.tikhonov(x, y, damping.double(), iterations=20)
    for i in range(3):
        alone = operator.select([i]).tikhonov(x[[i]], y[[i]], damping[[i]].double(), iterations=20)
        torch.testing.assert_close(together[[i]], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "iterations", "gain"), [("parallel", 3, 2.0), ("fan", 3, 1.6), ("whitened", 6, 4.0)]
)
def test_few_iterations_come_closer_than_those_of_the_normal_equations(
    name: str, iterations: int, gain: float
) -> None:
    """Of two discs with noise; the error of both is relative to the exact solution."""
    operator = OPERATORS[name]()
    matrix = rows_of(operator)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    image = (x**2 + y**2 < 0.6).double() + 0.3 * ((x - 0.2) ** 2 + y**2 < 0.1)
    b = operator.forward(image[None, None])
    b = b + operator.mask(b) * 0.02 * b.abs().max() * random(*b.shape, seed=2)
    product = matrix @ matrix.T
    delta = 0.1 * product.diagonal().mean()[None]
    gram = operator.gram(b)
    assert gram is not None
    normal = product + delta * torch.eye(len(product), dtype=torch.float64)
    exact = (matrix.T @ torch.linalg.solve(normal, measured(operator, b)[0])).view_as(image)

    def error(found: Tensor) -> float:
        return float((found[0, 0] - exact).norm() / exact.norm())

    ours = damped_by_rows(
        operator.forward, operator.adjoint, b, delta, gram.inverse(delta), tol=0.0,
        max_iter=iterations,
    )  # fmt: skip
    plain = damped(operator.forward, operator.adjoint, b, delta, max_iter=iterations)
    assert gain * error(ours) < error(plain)


@pytest.mark.parametrize("name", ["parallel", "fan", "resampled"])
def test_a_coloured_gram_makes_posterior_means_of_smooth_images_fast(name: str) -> None:
    """Images of a falling spectrum, smaller at the border: with the inverse of A C A^H + delta I as
    preconditioner eight steps come closer than without, and than with that of A A^H."""
    operator = OPERATORS[name]()
    height, width = operator.image_shape[-2:]
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    amplitude = torch.exp(-2 * (rows**2 + columns**2)).double()
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    spectrum = 1 / (0.03 + radius.double()) ** 3
    spectrum = spectrum / spectrum.mean()

    def covariance(x: Tensor) -> Tensor:
        filtered = torch.fft.ifft2(spectrum * torch.fft.fft2(amplitude * x)).real
        return amplitude * filtered

    def power(frequency: Tensor) -> Tensor:
        return (1 / (0.03 + frequency) ** 3 / (1 / (0.03 + radius) ** 3).mean())[None]

    like = blank(operator)
    gram = operator.gram(like)
    assert gram is not None
    along = operator.forward(amplitude[None, None] ** 2)
    lengths = operator.forward(torch.ones_like(amplitude)[None, None])
    variance = torch.where(lengths > 0, along / lengths, 0.0)
    b = operator.mask(like) * (operator.forward(covariance(random(1, 1, height, width))))
    delta = 1e-3 * (gram.norms * variance).amax()[None]
    coloured = gram.coloured(variance.clamp_min(1e-3 * float(variance.max())), power)

    def found(inverse: Callable[[Tensor], Tensor], steps: int) -> Tensor:
        return damped_by_rows(
            operator.forward, lambda u: covariance(operator.adjoint(u)), b, delta, inverse,
            tol=0.0, max_iter=steps,
        )  # fmt: skip

    pixels = torch.eye(height * width, dtype=torch.float64).reshape(-1, 1, height, width)
    rows_c = rows_of(operator) @ covariance(pixels).flatten(1)
    normal = rows_c @ rows_of(operator).T
    normal = normal + delta * torch.eye(len(normal), dtype=torch.float64)
    exact = rows_c.T @ torch.linalg.solve(normal, measured(operator, b)[0])

    def error(inverse: Callable[[Tensor], Tensor], steps: int) -> float:
        return float((found(inverse, steps).flatten() - exact).norm() / exact.norm())

    ours = error(coloured.inverse(delta), 8)
    assert ours < 0.4 * error(lambda r: r, 8)
    assert ours < 0.75 * error(gram.inverse(delta), 8)


def test_a_white_covariance_changes_only_the_scale() -> None:
    operator = sparse_view(SIDE, 2.0, 12)
    like = random(1, 1, *operator.grid_shape)
    gram, delta = operator.gram(like), torch.tensor([0.5])
    white = gram.coloured(torch.tensor(4.0), lambda f: torch.ones(1, len(f)))
    torch.testing.assert_close(white.inverse(delta)(like), gram.times(4.0).inverse(delta)(like))


def test_an_operator_on_larger_pixels_sees_higher_frequencies() -> None:
    """Cycles per pixel of the larger pixels; the size of a detector does not change."""
    operator = sparse_view(SIDE, 2.0, 12)
    like = blank(operator)
    assert halved(operator).gram(like).pixel == pytest.approx(2 * operator.gram(like).pixel)
    magnified = fan()
    geometry = magnified.geometry
    pitch = geometry.detector_spacing * 200 / 300
    assert magnified.gram(like).pixel == pytest.approx(geometry.spacing / pitch)


def test_views_overlap_below_the_frequency_of_their_density() -> None:
    side, mm = 32, 2.0
    every, one = torch.ones(180, dtype=torch.bool), torch.arange(180)
    beam = ParallelBeam(side, mm, 180, detector_spacing=1.0)
    assert overlap(beam, every) == pytest.approx(180 / (math.pi * side * mm))
    assert overlap(beam, one % 4 == 0) == pytest.approx(45 / (math.pi * side * mm))
    assert overlap(beam, one < 60) == pytest.approx(60 / (math.pi * 59 / 180 * side * mm), 0.05)
    assert overlap(beam, one < 1) == pytest.approx(1 / (math.pi * side * mm))
    turn = FanBeam(side, mm, 360, 200.0, 400.0, detector_spacing=3.0)
    assert overlap(turn, every.repeat(2)) == pytest.approx(360 * 1.5 / (math.pi * side * mm))


def test_operators_without_rows_have_none() -> None:
    mask = torch.ones(8, 8, dtype=torch.bool)
    operator = Fourier(mask)
    assert operator.gram(torch.zeros(1, 1, 8, 8, dtype=torch.complex64)) is None
    gram = Gram(torch.ones(1, 1, 2, 4), torch.zeros(1, 1, 1, 1))
    inverse = gram.inverse(torch.tensor([3.0]))
    torch.testing.assert_close(inverse(torch.ones(1, 1, 2, 4)), torch.full((1, 1, 2, 4), 0.25))


def test_poses_that_are_no_circle_have_no_gram() -> None:
    operator = cone()
    up = torch.arange(9, dtype=torch.float64)[:, None] * torch.tensor([0.0, 0.0, 1.0]).double()
    helix = replace(operator.geometry, source=operator.geometry.source + up)
    moved = ConeBeam(helix, operator.diagonal)
    assert moved.gram(blank(moved)) is None
