"""Properties of every operator, for every backend and dtype.

A new operator joins by one line in OPERATORS, or in WITHOUT_INVERSE if its T_inv is not known.
"""

import importlib
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from support import Square
from torch import Tensor

import medscore.operators
from medscore.operators import parts, store
from medscore.operators.base import Operator
from medscore.operators.ct.backends.astra import Astra
from medscore.operators.ct.backends.triton import Triton
from medscore.operators.ct.cone.beam import ConeBeam
from medscore.operators.ct.cone.geometry import ConeGeometry, VoxelGrid
from medscore.operators.ct.cone.orbit import circular_orbit
from medscore.operators.ct.geometry import FanBeam, ParallelAngles, ParallelBeam
from medscore.operators.ct.metal import metal_trace, without_metal
from medscore.operators.ct.radon import Radon
from medscore.operators.ct.scans import fan_sparse_view, limited_angle, sparse_view, view_list
from medscore.operators.images.blur import Blur, gaussian_kernel, motion_kernel
from medscore.operators.images.colorization import Colorization
from medscore.operators.images.inpainting import Inpainting
from medscore.operators.images.super_resolution import SuperResolution
from medscore.operators.linear import LinearOperator
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.hartley import Hartley, kspace_mask
from medscore.operators.mri.masks import equispaced, variable_density_2d
from medscore.operators.mri.multicoil import MulticoilFourier
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.real_images import Phased, TwoChannels
from medscore.operators.mri.sensitivity import birdcage
from medscore.operators.mri.trajectories import radial_trajectory
from medscore.operators.noise import ComplexGaussianNoise, GaussianNoise, PoissonNoise
from medscore.operators.wrappers.padded import Padded
from medscore.operators.wrappers.resampled import Resampled
from medscore.operators.wrappers.restricted import Restricted
from medscore.operators.wrappers.stack import Stack
from medscore.operators.wrappers.whitened import Whitened


def bits(*shape: int, seed: int = 0, share: float = 0.6) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def views(count: int, every: int = 1, stop: int | None = None) -> Tensor:
    k = torch.arange(count)
    return ((k % every == 0) & (k < (count if stop is None else stop)))[:, None]


def on(backend: str, size: int = 16, count: int = 32) -> Radon:
    return Radon(ParallelBeam(size, 1.0, count), views(count), backend=backend)


def maps(*shape: int) -> Tensor:
    """Well-conditioned coils, sum |S|^2 from 0.5 to 1."""
    coils = birdcage(*shape)
    return coils * torch.linspace(0.7, 1.0, shape[1])[:, None]


def standard_deviations(batch: int, *grid: int) -> Tensor:
    """Noise levels from 0.5 to 2."""
    drawn = torch.rand(batch, 1, *grid, generator=torch.Generator().manual_seed(4))
    return 4**drawn / 2


def whitened_scan() -> Whitened:
    scan = Radon(ParallelBeam(13, 0.7, 40), views(40, 4))
    return Whitened(scan, standard_deviations(1, *scan.grid_shape))


def phases(*shape: int) -> Tensor:
    """A smooth phase, another for each sample."""
    angle = torch.linspace(0, 5, shape[-1]) + torch.arange(shape[-2])[:, None] / 7
    first = torch.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)).float()
    return torch.polar(torch.ones(shape), (angle + first).expand(shape).contiguous())


def sparse_metal() -> Radon:
    """Every other view, without the trace of metal in two pixels."""
    geometry = ParallelBeam(12, 1.0, 32)
    metal = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    metal[..., 4, 7:9] = True
    return Radon(geometry, without_metal(views(32, 2), metal_trace(metal, geometry)))


def cone(count: int, **changes: Any) -> ConeGeometry:
    """A circular orbit about three slices of 10 x 10 voxels, which its detector covers."""
    setting = {"source_distance": 50.0, "detector_distance": 80.0, "rows": 10, "columns": 28,
               "pitch": (0.9, 1.0)} | changes  # fmt: skip
    angles = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return circular_orbit(VoxelGrid((3, 10, 10), (1.0, 1.0, 1.0)), angles, **setting)


def helical() -> ConeGeometry:
    """Sources at various heights, with detectors that lean."""
    g = cone(7, rows=16)
    lean = torch.tensor([0.0, 0.1, 0.05])
    up = torch.linspace(-1, 1, 7)[:, None] * torch.tensor([0.0, 0.0, 1.0])
    return replace(g, source=g.source + up, detector=g.detector + up, v=g.v + lean)


def on_other_grid(inner: Operator, shape: tuple[int, int]) -> Resampled:
    """Images with fewer pixels of other sizes, whose interpolation has a left inverse."""
    there = [
        torch.eye(n, m) + 0.3 * torch.eye(n, m).roll(n - m, 0)
        for n, m in zip(inner.image_shape[-2:], shape, strict=True)
    ]
    return Resampled(inner, *there, *(torch.linalg.pinv(matrix) for matrix in there))


def composed() -> Operator:
    """Some Hartley coefficients, of which the inner operator measures all."""
    return Inpainting(bits(9, 11)) @ Hartley(torch.ones(9, 11))


def linear(inner: Operator, **options: Any) -> LinearOperator:
    """The full T of an operator as two functions."""
    return LinearOperator(inner.T, inner.T_adjoint, inner.image_shape, **options)


def complex_linear() -> LinearOperator:
    """An FFT without centring; some of its entries are measured."""
    return LinearOperator(
        lambda x: torch.fft.fft2(x, norm="ortho"),
        lambda y: torch.fft.ifft2(y, norm="ortho"),
        (1, 6, 9),
        mask=bits(6, 9),
        noise=ComplexGaussianNoise(0.1),
    )


INVERTIBLE: dict[str, Callable[[], Operator]] = {
    "square T": Square,
    "radon, 7 views": lambda: sparse_view(20, 2.5, 7, PoissonNoise(1e4, 5.0)),
    "radon, 10 views, odd size": lambda: sparse_view(13, 0.7, 10),
    "radon, full": lambda: Radon(ParallelBeam(16, 1.0, 64), views(64)),
    "radon, limited angle": lambda: limited_angle(12, 1.0, 0.0, 2.0),
    "radon, odd number of views": lambda: Radon(ParallelBeam(16, 1.0, 45), views(45, 2)),
    "radon, fine detector": lambda: Radon(ParallelBeam(16, 1.0, 40, 60, 0.5), views(40, 4)),
    "radon, list of views": lambda: view_list(16, 1.0, [0.1, 0.4, 0.45, 1.6, 2.5]),
    "radon, sparse views and metal trace": sparse_metal,
    "radon, mask per sample": lambda: Radon(ParallelBeam(16, 1.0, 32), bits(2, 1, 32, 1)),
    "radon, chunked": lambda: on("chunked"),
    "fan beam, flat": lambda: fan_sparse_view(
        14, 1.0, 45, source_distance=50.0, detector_distance=80.0
    ),
    "fan beam, curved": lambda: Radon(
        FanBeam(16, 1.0, 64, 50.0, 80.0, detector_shape="curved"), views(64, 2)
    ),
    "radon, displaced detector": lambda: Radon(
        ParallelBeam(14, 1.0, 48, detector_offset=0.3), views(48, 3)
    ),
    "fan beam, listed views, displaced detector": lambda: Radon(
        FanBeam(
            12,
            1.0,
            60,
            50.0,
            80.0,
            detector_offset=2.0,
            list_of_angles=tuple(0.1 * k for k in range(60)),
        ),
        views(60, 2),
    ),
    "cone beam": lambda: ConeBeam(cone(16), views(16)[..., None], PoissonNoise(1e4)),
    "cone beam, few views": lambda: ConeBeam(cone(24), views(24, 2)[..., None]),
    "cone beam, mask per sample": lambda: ConeBeam(
        cone(16, detector_shape="curved"), bits(2, 1, 16, 1, 1)
    ),
    "fourier": lambda: Fourier(equispaced((12, 16), 2.5), ComplexGaussianNoise(0.1)),
    "fourier, odd sizes": lambda: Fourier(
        variable_density_2d((9, 11), 2.0, torch.Generator().manual_seed(0))
    ),
    "fourier, mask per sample": lambda: Fourier(bits(2, 1, 8, 10)),
    "hartley": lambda: Hartley(kspace_mask(equispaced((12, 16), 4.0)), GaussianNoise(0.1)),
    "hartley, odd sizes": lambda: Hartley(kspace_mask(bits(9, 11, share=0.3))),
    "hartley, mask per sample": lambda: Hartley(kspace_mask(bits(2, 1, 8, 11, share=0.3))),
    "multicoil fourier": lambda: MulticoilFourier(maps(4, 12, 14), equispaced((12, 14), 2.0)),
    "multicoil fourier, maps per sample": lambda: MulticoilFourier(
        torch.stack([maps(4, 8, 8), maps(4, 8, 8).flip(0)]), bits(2, 1, 8, 8)
    ),
    "inpainting": lambda: Inpainting(bits(9, 12), GaussianNoise(0.1)),
    "inpainting, mask per sample": lambda: Inpainting(bits(2, 1, 9, 12)),
    "colorization": lambda: Colorization(7, 8),
    "super-resolution": lambda: SuperResolution(12, 9, 3),
    "blur, gaussian": lambda: Blur(gaussian_kernel(1.0), 11, 10, threshold=0.1),
    "blur, motion": lambda: Blur(motion_kernel(3.0, 0.6), 9, 8, threshold=0.1),
    "restricted": lambda: Restricted(SuperResolution(8, 8, 2), bits(8, 8)),
    "stack of coils": lambda: Stack(
        MulticoilFourier(torch.stack([maps(3, 6, 8), maps(3, 6, 8).flip(0)]), bits(6, 8)), 2
    ),
    "stack": lambda: Stack(Radon(ParallelBeam(12, 1.0, 24), bits(3, 1, 24, 1)), 3),
    "padded": lambda: Padded(sparse_view(16, 1.0, 5), 12, 15),
    "resampled": lambda: on_other_grid(sparse_view(16, 1.0, 5), (10, 12)),
    "resampled fourier coils, per sample": lambda: on_other_grid(
        MulticoilFourier(maps(3, 8, 10), bits(2, 1, 8, 10)), (6, 7)
    ),
    "resampled, two channels": lambda: on_other_grid(
        TwoChannels(Fourier(bits(2, 1, 8, 10))), (6, 7)
    ),
    "whitened radon": whitened_scan,
    "whitened hartley, per sample": lambda: Whitened(
        Hartley(kspace_mask(bits(2, 1, 8, 11, share=0.3))), standard_deviations(2, 8, 11)
    ),
    "phased": lambda: Phased(Fourier(equispaced((12, 16), 2.5)), phases(12, 16)),
    "phased coils, per sample": lambda: Phased(
        MulticoilFourier(maps(3, 8, 8), bits(2, 1, 8, 8)), phases(2, 1, 8, 8)
    ),
    "two channels": lambda: TwoChannels(Fourier(bits(2, 1, 8, 10))),
    "two channels of coils": lambda: TwoChannels(MulticoilFourier(maps(3, 8, 8), bits(8, 8))),
    "composition": composed,
    "multiple of radon": lambda: -2.5 * sparse_view(13, 0.7, 10),
    "multiple of fourier, per sample": lambda: 0.5 * Fourier(bits(2, 1, 8, 10)),
}
"""Operators whose T has a known left inverse."""

WITHOUT_INVERSE: dict[str, Callable[[], Operator]] = {
    "linear operator": lambda: linear(sparse_view(12, 1.0, 5), mask=views(180, 36)),
    "linear fourier operator": complex_linear,
    "linear operator, mask per sample": lambda: linear(
        SuperResolution(6, 8, 2), mask=bits(2, 1, 6, 8)
    ),
    "cone beam, any poses": lambda: ConeBeam(helical(), bits(7, 16, 28)),
    "composition with unmeasured entries": lambda: (
        sparse_view(12, 1.0, 5) @ Inpainting(bits(2, 1, 12, 12))
    ),
    "sum": lambda: Inpainting(bits(9, 11)) + 0.5 * Hartley(kspace_mask(bits(9, 11, share=0.3))),
    "sum of fourier operators, per sample": lambda: (
        Fourier(bits(8, 10)) - Inpainting(bits(2, 1, 8, 10))
    ),
    "adjoint": lambda: sparse_view(12, 1.0, 5).H,
    "adjoint of fourier coils, per sample": lambda: (
        MulticoilFourier(maps(3, 8, 8), bits(2, 1, 8, 8)).H
    ),
    "normal fourier operator": lambda: (
        MulticoilFourier(maps(3, 8, 8), bits(8, 8)).H @ MulticoilFourier(maps(3, 8, 8), bits(8, 8))
    ),
}
"""Operators that have A and its adjoint, and no T_inv."""

if find_spec("finufft"):
    INVERTIBLE["non-uniform fourier"] = lambda: NonuniformFourier(
        radial_trajectory(8, 14), views(14, 2).expand(14, 16).flatten(), 8, 8
    )
    INVERTIBLE["non-uniform fourier coils"] = lambda: MulticoilNonuniform(
        maps(3, 8, 8), radial_trajectory(8, 14), views(14, 2).expand(14, 16).flatten()
    )
OPERATORS = INVERTIBLE | WITHOUT_INVERSE
NOT_IN_FILES = {"square T"} | {name for name in OPERATORS if name.startswith("linear")}
MIXED = {name for name in OPERATORS if "phased" in name or "two channels" in name}
"""Real images, complex measurements."""
COMPLEX = {name for name in OPERATORS if "fourier" in name or "coils" in name} - MIXED

ON_BACKENDS: dict[str, Callable[[], Operator]] = {"radon, csr-half": lambda: on("csr-half")}
"""Slow or less precise projectors: only the maps are tested, not iterations with them."""

if Astra.is_at_hand():
    ON_BACKENDS["radon, astra"] = lambda: on("astra")
    ON_BACKENDS["list of views, astra"] = lambda: Radon(
        ParallelAngles(16, 0.8, (0.1, 0.5, 2.2, 3.0), 21, 1.1), views(4), backend="astra"
    )
if Triton.is_at_hand():
    ON_BACKENDS["radon, triton"] = lambda: on("triton", 6, 6)
    ON_BACKENDS["fan beam, triton"] = lambda: Radon(
        FanBeam(6, 1.0, 5, 30.0, 50.0), views(5), backend="triton"
    )
    ON_BACKENDS["curved fan beam, triton"] = lambda: Radon(
        FanBeam(5, 1.0, 6, 30.0, 50.0, detector_shape="curved"), views(6), backend="triton"
    )

DTYPES = {"float32": torch.float32, "float64": torch.float64}
LABELS = {dtype: label for label, dtype in DTYPES.items()}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
IMAGE_MAPS = ["T", "forward"]
ADJOINT_MAPS = ["T_adjoint", "adjoint"]
INVERSE_MAPS = ["T_inv", "zero_filled"]


@dataclass(frozen=True)
class Case:
    name: str
    dtype: torch.dtype
    device: str

    def __repr__(self) -> str:
        return f"{self.name}-{LABELS[self.dtype]}-{self.device}"

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype]

    def operator(self, batch: int = 2) -> Operator:
        """The operator for a batch; where masks differ, they repeat."""
        made = (OPERATORS | ON_BACKENDS)[self.name]()
        return made.select([i % 2 for i in range(batch)])

    def draw(self, *shape: int, seed: int = 0, data: bool = False) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        if self.name in COMPLEX or (data and self.name in MIXED):
            imaginary = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return torch.complex(values, imaginary).to(self.device, self.dtype.to_complex())
        return values.to(self.device, self.dtype)

    def image(self, operator: Operator, batch: int = 2, seed: int = 0) -> Tensor:
        has_channel = len(operator.image_shape) > 2 and not isinstance(operator, Stack)
        lead = () if has_channel else (1,)
        return self.draw(batch, *lead, *operator.image_shape, seed=seed)

    def smooth(self, operator: Operator, seed: int = 0) -> Tensor:
        """Noise blurred to about the sharpness of a medical image, which conjugate gradients fit
        to 1e-5. White noise has components that few views measure too weakly for that.
        """
        x = self.image(operator, seed=seed)
        parts = torch.view_as_real(x).movedim(-1, 0) if x.is_complex() else x[None]
        flat = parts.reshape(-1, 1, *x.shape[-2:])
        for _ in range(3):
            flat = torch.nn.functional.avg_pool2d(flat, 3, stride=1, padding=1)
        parts = flat.reshape(parts.shape)
        return torch.complex(parts[0], parts[1]) if x.is_complex() else parts[0]

    def measurement(self, operator: Operator, batch: int = 2, seed: int = 1) -> Tensor:
        shape = operator.T(self.image(operator, batch)).shape
        return self.draw(*shape, seed=seed, data=True)


def _cases(names: dict[str, Callable[[], Operator]]) -> list[Case]:
    return [
        Case(name, dtype, device)
        for name in names
        for dtype in DTYPES.values()
        for device in DEVICES
        if "astra" not in name or dtype == torch.float32
    ]


every_backend = pytest.mark.parametrize("case", _cases(OPERATORS | ON_BACKENDS), ids=repr)
every_operator = pytest.mark.parametrize("case", _cases(OPERATORS), ids=repr)
every_inverse = pytest.mark.parametrize("case", _cases(INVERTIBLE), ids=repr)
in_float64 = pytest.mark.parametrize(
    "case", [case for case in _cases(OPERATORS) if case.dtype == torch.float64], ids=repr
)
inverse_in_float64 = pytest.mark.parametrize(
    "case", [case for case in _cases(INVERTIBLE) if case.dtype == torch.float64], ids=repr
)
every_dtype_alike = pytest.mark.parametrize(
    "case",
    [
        case
        for case in _cases(OPERATORS | ON_BACKENDS)
        if case.dtype == torch.float64 or "astra" in case.name
    ],
    ids=repr,
)


def maps_of(case: "Case") -> list[str]:
    """The linear maps of a case; only T and its adjoint if a backend is tested."""
    if case.name in ON_BACKENDS:
        return ["T", "T_adjoint"]
    return IMAGE_MAPS + ADJOINT_MAPS + (INVERSE_MAPS if case.name in INVERTIBLE else [])


def argument(case: "Case", operator: Operator, map_: str, batch: int = 2, seed: int = 0) -> Tensor:
    """A random argument of a map."""
    draw = case.image if map_ in IMAGE_MAPS else case.measurement
    return draw(operator, batch, seed)


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).sum()


def dots(case: "Case", a: Tensor, b: Tensor) -> Tensor:
    """The inner product, over the real numbers where images are real."""
    product = dot(a, b)
    return product.real if case.name in MIXED else product


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@every_backend
@pytest.mark.parametrize(("map_", "back"), [("forward", "adjoint"), ("T", "T_adjoint")])
def test_adjoint_passes_the_dot_test_and_returns_the_images_shape(
    case: Case, map_: str, back: str
) -> None:
    operator = case.operator()
    x = case.image(operator)
    y = case.measurement(operator)
    ax, ay = getattr(operator, map_)(x), getattr(operator, back)(y)
    assert ay.shape == x.shape
    assert ax.shape == y.shape
    gap = dots(case, ax, y) - dots(case, x, ay)
    assert float(gap.abs() / (ax.norm() * y.norm())) <= case.tolerance


@every_backend
def test_forward_is_the_mask_times_t(case: Case) -> None:
    operator = case.operator()
    x = case.image(operator)
    z, y = operator.T(x), operator.forward(x)
    assert relative(y, operator.mask(z) * z) <= case.tolerance
    assert torch.equal(y, operator.mask(y) * y)
    if case.name in INVERTIBLE:
        assert torch.equal(operator.zero_filled(z), operator.T_inv(operator.mask(z) * z))
    adjoint = operator.T_adjoint(operator.mask(z) * z)
    assert relative(operator.adjoint(z), adjoint) <= case.tolerance


@every_backend
def test_every_map_is_linear(case: Case) -> None:
    operator = case.operator()
    for name in maps_of(case):
        f = getattr(operator, name)
        a, b = (argument(case, operator, name, seed=seed) for seed in (2, 3))
        expected = 2 * f(a) - 3 * f(b)
        assert relative(f(2 * a - 3 * b), expected) <= 10 * case.tolerance, name


@every_backend
def test_samples_of_a_batch_are_independent(case: Case) -> None:
    batch = 3 if "triton" in case.name else 9  # with the symmetries more than one call's worth
    operator = case.operator(batch)
    for name in maps_of(case):
        a = argument(case, operator, name, batch)
        together = getattr(operator, name)(a)
        alone = torch.cat([getattr(operator.select([i]), name)(a[i : i + 1]) for i in range(batch)])
        assert relative(together, alone) <= case.tolerance / 10, name


@in_float64
@pytest.mark.parametrize("solver", ["tikhonov", "data_consistency"])
def test_equations_of_large_batches_are_solved_in_parts(
    case: Case, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = case.operator(3)
    x, y = case.image(operator, 3), case.measurement(operator, 3)
    strength = torch.full((3,), 0.5, dtype=torch.float64) if solver == "tikhonov" else 0.5
    together = getattr(operator, solver)(x, y, strength)
    monkeypatch.setattr(parts, "AT_A_TIME", 2 * y[0].numel())
    assert relative(getattr(operator, solver)(x, y, strength), together) <= case.tolerance


@every_backend
def test_gradients_are_those_of_the_map(case: Case) -> None:
    """The directional derivative of a linear map is the map of the direction."""
    operator = case.operator()
    for name in maps_of(case):
        f = getattr(operator, name)
        a = argument(case, operator, name).requires_grad_()
        out = f(a)
        cotangent = case.draw(*out.shape, seed=6, data=name in IMAGE_MAPS)
        (gradient,) = torch.autograd.grad(out, a, cotangent)
        direction = argument(case, operator, name, seed=7)
        found, expected = dots(case, gradient, direction), dots(case, cotangent, f(direction))
        scale = cotangent.norm() * f(direction).norm()
        assert float((found - expected).abs() / scale) <= case.tolerance, name


@every_dtype_alike
def test_vmap_over_a_leading_axis_equals_the_loop(case: Case) -> None:
    operator = case.operator()
    for name in maps_of(case):
        f = getattr(operator, name)
        many = torch.stack([argument(case, operator, name, seed=seed) for seed in (1, 2, 3)], 1)
        loop = torch.stack([f(a) for a in many.unbind(1)])
        found = torch.func.vmap(f, in_dims=1)(many)
        assert found.shape == loop.shape
        assert relative(found, loop) <= case.tolerance / 10, name


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # by torch's own jvp
@every_dtype_alike
def test_forward_and_reverse_derivatives_of_torch_func_are_the_map_and_its_adjoint(
    case: Case,
) -> None:
    operator = case.operator()
    for name, back in (("T", "T_adjoint"), ("forward", "adjoint")):
        f = getattr(operator, name)
        x, direction = case.image(operator), case.image(operator, seed=1)
        value, tangent = torch.func.jvp(f, (x,), (direction,))
        assert relative(value, f(x)) <= case.tolerance
        assert relative(tangent, f(direction)) <= case.tolerance
        y = case.measurement(operator)
        _, pull_back = torch.func.vjp(f, x)
        assert relative(pull_back(y)[0], getattr(operator, back)(y)) <= case.tolerance
        rows = torch.func.vmap(lambda v, pull_back=pull_back: pull_back(v)[0])(torch.stack([y, -y]))
        assert relative(rows[1], -pull_back(y)[0]) <= case.tolerance


@pytest.mark.slow
@pytest.mark.parametrize("name", ["radon, 7 views", "fourier", "phased coils, per sample"])
def test_jacrev_gives_the_dense_matrix(name: str) -> None:
    case = Case(name, torch.float64, "cpu")
    operator = case.operator(1)
    x = case.image(operator, 1)

    def numbers(x: Tensor) -> Tensor:
        y = operator.forward(x)
        return torch.view_as_real(y) if y.is_complex() else y

    start = x.real.contiguous()
    found = torch.func.jacrev(lambda part: numbers(part.to(x.dtype)))(start)
    basis = torch.eye(start.numel(), dtype=torch.float64).reshape(-1, *start.shape)
    columns = torch.stack([numbers(e.to(x.dtype)) for e in basis], -1)
    assert relative(found.reshape(columns.shape), columns) <= case.tolerance


@pytest.mark.parametrize("name", [*OPERATORS, *(name for name in ON_BACKENDS if "astra" in name)])
def test_caches_filled_within_transforms_or_inference_mode_are_valid_outside(name: str) -> None:
    dtype = torch.float32 if "astra" in name else torch.float64
    case = Case(name, dtype, "cpu")
    fresh = case.operator()
    x = case.image(fresh)
    expected = fresh.forward(x)
    transformed, inferred = case.operator(), case.operator()
    many = torch.stack([x, x])
    torch.func.vmap(torch.func.grad(lambda a: transformed.forward(a).abs().square().sum()))(many)
    with torch.inference_mode():
        inferred.forward(x)
    for operator in (transformed, inferred):
        again = operator.forward(x.clone().requires_grad_())
        assert torch.equal(again, expected)
        again.abs().sum().backward()  # type: ignore[no-untyped-call]
        for tensor in _tensors(vars(operator)):
            assert not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
            assert not tensor.is_inference()


@pytest.mark.parametrize("name", OPERATORS)
def test_to_moves_every_tensor_of_a_copy(name: str) -> None:
    """Shown with the device "meta", whose tensors have no values."""
    case = Case(name, torch.float64, "cpu")
    made = case.operator()
    x = case.image(made)
    expected = made.forward(x)
    assert {tensor.device.type for tensor in _tensors(vars(made.to("meta")))} == {"meta"}
    assert {tensor.device.type for tensor in _tensors(vars(made))} == {"cpu"}
    assert torch.equal(made.to("cpu").forward(x), expected)


def _tensors(value: object) -> list[Tensor]:
    """All tensors in attributes, including those of inner operators."""
    match value:
        case Tensor():
            return [value]
        case dict():
            return [tensor for part in value.values() for tensor in _tensors(part)]
        case tuple() | list():
            return [tensor for part in value for tensor in _tensors(part)]
        case Operator():
            return _tensors(vars(value))
    return []


@pytest.mark.parametrize("name", OPERATORS)
def test_gradcheck(name: str) -> None:
    case = Case(name, torch.float64, "cpu")
    operator = case.operator()
    x, y = case.image(operator).requires_grad_(), case.measurement(operator).requires_grad_()
    assert torch.autograd.gradcheck(operator.forward, x, fast_mode=True)
    assert torch.autograd.gradcheck(operator.adjoint, y, fast_mode=True)
    if name in INVERTIBLE:
        assert torch.autograd.gradcheck(operator.zero_filled, y, fast_mode=True)


@every_backend
def test_dtype_and_device_are_preserved(case: Case) -> None:
    operator = case.operator()
    x = case.image(operator)
    y = operator.forward(x)
    images, data = [operator.adjoint(y)], [y, operator.T(x)]
    if case.name in INVERTIBLE:
        images += [operator.T_inv(y), operator.zero_filled(y)]
    of_data = x.dtype.to_complex() if case.name in MIXED else x.dtype
    assert {out.dtype for out in images} == {x.dtype}
    assert {out.dtype for out in data} == {of_data}
    assert {out.device for out in images + data} == {x.device}
    assert operator.mask(y).dtype == case.dtype
    assert operator.mask(y).device == x.device


@every_operator
def test_a_measurement_is_zero_where_nothing_is_measured_and_repeats(case: Case) -> None:
    operator = case.operator()
    x = case.image(operator)
    y = operator.measure(x, torch.Generator().manual_seed(5))
    assert torch.equal(y, operator.measure(x, torch.Generator().manual_seed(5)))
    assert torch.equal(y, operator.mask(y) * y)
    operator.check(y)


@pytest.mark.parametrize("name", OPERATORS)
def test_data_of_another_scan_are_refused(name: str) -> None:
    case = Case(name, torch.float32, "cpu")
    operator = case.operator()
    y = operator.forward(case.image(operator))
    with pytest.raises(ValueError, match="shape"):
        operator.check(y[..., :-1])
    spoilt = y.clone()
    spoilt[operator.mask(y).expand(y.shape) == 1] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        operator.check(spoilt)
    if not bool(operator.diagonal.all()):
        with pytest.raises(ValueError, match="not zero where"):
            operator.check(y + 1)


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in NOT_IN_FILES])
def test_an_operator_survives_a_file(name: str, tmp_path: Path) -> None:
    case = Case(name, torch.float64, "cpu")
    made = OPERATORS[name]()
    store.save(tmp_path / "operator.h5", made)
    again = store.load(tmp_path / "operator.h5")
    assert type(again) is type(made)
    assert repr(again) == repr(made)
    assert again.noise_model == made.noise_model
    rows = [0, 1]
    x = case.image(made)
    assert torch.equal(again.select(rows).forward(x), made.select(rows).forward(x))


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "square T"])
def test_the_repr_names_the_class_and_the_image_size(name: str) -> None:
    operator = OPERATORS[name]()
    assert repr(operator).startswith(type(operator).__name__)
    assert str(operator.image_shape[-1]) in repr(operator)


@pytest.mark.parametrize("name", WITHOUT_INVERSE)
def test_an_unknown_inverse_is_refused_with_a_way_out(name: str) -> None:
    case = Case(name, torch.float64, "cpu")
    operator = case.operator()
    y = operator.forward(case.image(operator))
    for call in (operator.T_inv, operator.zero_filled, lambda z: operator.proximal(
        case.image(operator), z, 1.0
    )):  # fmt: skip
        with pytest.raises(ValueError, match=r"T_inv is not known.*diffpir, dds or dps") as refused:
            call(y)
        assert "\n" not in str(refused.value)


def test_every_operator_is_tested_here_and_supported_by_files() -> None:
    for module in pkgutil.walk_packages(medscore.operators.__path__, "medscore.operators."):
        if "triton_kernels" not in module.name:
            importlib.import_module(module.name)
    written = {c for c in _subclasses(Operator) if c.__module__.startswith("medscore.")}
    if not find_spec("finufft"):
        written -= {NonuniformFourier, MulticoilNonuniform}
    assert written == {type(make()) for make in OPERATORS.values()} - {Square}
    written -= {LinearOperator}  # made of functions, so it cannot be stored in a file
    assert written <= {c for c in store.KINDS.values() if issubclass(c, Operator)}


def _subclasses(of: type) -> set[type]:
    return {c for child in of.__subclasses__() for c in {child} | _subclasses(child)}


@every_operator
def test_pinv_is_a_generalised_inverse(case: Case) -> None:
    """A A+ A = A, up to the tolerance of the conjugate gradients."""
    operator = case.operator()
    y = operator.forward(case.smooth(operator))
    solution = operator.pinv(y)
    assert relative(operator.forward(solution.x), y) <= 1e-5
    assert float(solution.residual.max()) <= 1e-5


@in_float64
def test_pinv_has_least_norm(case: Case) -> None:
    """Any other image with the same measurements has a larger norm."""
    operator = case.operator()
    x = case.image(operator)
    short = operator.pinv(operator.forward(x), tol=1e-4).x
    slack = 1 + case.tolerance
    assert bool((short.flatten(1).norm(dim=1) <= slack * x.flatten(1).norm(dim=1)).all())


@every_operator
def test_project_exact_fits_the_measurements(case: Case) -> None:
    operator = case.operator()
    y = operator.forward(case.smooth(operator))
    start = case.smooth(operator, seed=7)
    solution = operator.project_exact(start, y)
    assert float(operator.residual(solution.x, y).max()) <= 1e-5
    torch.testing.assert_close(solution.residual, operator.residual(solution.x, y))


@in_float64
def test_project_exact_leaves_a_fitting_image_alone(case: Case) -> None:
    operator = case.operator()
    x = case.smooth(operator)
    found = operator.project_exact(x, operator.forward(x)).x
    assert relative(found, x) <= 1e-9


@in_float64
def test_project_ball_is_the_projection_onto_the_fitting_images(case: Case) -> None:
    """It is feasible, and no feasible direction from it leads closer to the starting point."""
    operator = case.operator()
    x, truth = case.smooth(operator, seed=7), case.smooth(operator)
    y = operator.forward(truth)
    fit = operator.project_ball(x, y, tol=1e-2)
    assert float(operator.residual(fit.x, y).max()) <= 1e-2 * (1 + 1e-6)
    torch.testing.assert_close(fit.residual, operator.residual(fit.x, y))
    exact = operator.project_exact(x, y, tol=1e-5).x
    for inside in (truth, exact):
        back = dot(x - fit.x, inside - fit.x).real
        assert float(back) <= 1e-4 * float((x - fit.x).norm() ** 2)
    again = operator.project_ball(fit.x, y, tol=1.001e-2).x
    assert torch.equal(again, fit.x) or operator.zero_filled_is_pinv


@every_inverse
def test_proximal_is_equation_8_9_up_to_the_loss_of_t_inv(case: Case) -> None:
    """T_inv[lam mask y + (1 - lam) mask T x + (1 - mask) T x] + (x - T_inv T x)."""
    operator = case.operator()
    x = case.image(operator)
    y, lam = operator.forward(case.image(operator, seed=8)), 0.7
    z = operator.T(x)
    mask = operator.mask(z)
    blended = lam * mask * y + (1 - lam) * mask * z + (1 - mask) * z
    loss = x - operator.T_inv(z)
    expected = operator.T_inv(blended) + loss
    assert relative(operator.proximal(x, y, lam), expected) <= 100 * case.tolerance


@inverse_in_float64
def test_proximal_with_lam_zero_changes_nothing(case: Case) -> None:
    operator = case.operator()
    x = case.image(operator)
    assert torch.equal(operator.proximal(x, case.measurement(operator), 0.0), x)


SURJECTIVE = [name for name, make in OPERATORS.items() if make().surjective]
NOT_SURJECTIVE = [name for name in OPERATORS if name not in SURJECTIVE]


@pytest.mark.parametrize("name", SURJECTIVE)
@pytest.mark.parametrize("lam", [0.3, 0.9])
def test_where_t_is_surjective_brute_force_finds_no_better_point_than_proximal(
    name: str, lam: float
) -> None:
    """Theorem 8.1: the closed form minimises Eq. 8.8, found here by descent from elsewhere."""
    case = Case(name, torch.float64, "cpu")
    operator = case.operator()
    x = case.image(operator)
    y = operator.forward(case.image(operator, seed=8))
    best = operator.proximal(x, y, lam)
    z = case.image(operator, seed=9).requires_grad_()
    search = torch.optim.LBFGS(
        [z], max_iter=3000, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = equation_8_8(operator, z, x, y, lam)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(closure)
    assert relative(z.detach(), best) <= 1e-4


def equation_8_8(operator: Operator, z: Tensor, x: Tensor, y: Tensor, lam: float) -> Tensor:
    """With the inner minimum over {u : A u = y} solved: only measured entries differ, as T is
    surjective.
    """
    to_x = operator.T(z - x).abs().square().sum()
    to_fit = (operator.mask(y) * (operator.T(z) - y)).abs().square().sum()
    return (1 - lam) * to_x + lam * to_fit


@pytest.mark.parametrize("name", [name for name in NOT_SURJECTIVE if name in INVERTIBLE])
def test_where_t_is_not_surjective_proximal_stops_short_of_the_nearest_fit(name: str) -> None:
    """A step reduces the objective, and A^+ reaches the minimum."""
    case = Case(name, torch.float64, "cpu")
    operator = case.operator()
    x, y = case.smooth(operator), operator.forward(case.smooth(operator, seed=8))
    fit = operator.project_exact(x, y).x
    step = operator.proximal(x, y, 1.0)
    assert relative(step, fit) > 1e-6
    assert float((step - fit).norm()) < float((x - fit).norm())


@pytest.mark.statistical
@pytest.mark.parametrize("name", NOT_SURJECTIVE)
def test_data_consistency_keeps_the_noise_of_a_noisy_state(name: str) -> None:
    """Where T is not surjective, at full strength, white noise in x is repeatedly replaced by that
    of a measurement of fresh noise: x' = (I - P) x + P fresh keeps its variance if P is an
    orthogonal projection.

    N numbers: the standard error of their variance is sqrt(2 / N), the bound 6 of them (false-alarm
    rate below 1e-8 for each operator).
    """
    case = Case(name, torch.float64, "cpu")
    operator = case.operator()
    x = case.image(operator)
    for seed in range(1, 6):
        y = operator.forward(case.image(operator, seed=seed))
        x = operator.data_consistency(x, y, 1.0)
    numbers = torch.view_as_real(x) if x.is_complex() else x
    variance = float(numbers.square().mean())
    assert variance == pytest.approx(1.0, abs=6 * (2 / numbers.numel()) ** 0.5)


@in_float64
def test_data_consistency_moves_by_its_strength(case: Case) -> None:
    operator = case.operator()
    x = case.smooth(operator)
    y = operator.forward(case.smooth(operator, seed=7))
    full, half = operator.data_consistency(x, y, 1.0), operator.data_consistency(x, y, 0.5)
    assert relative(half, (x + full) / 2) <= 10 * case.tolerance
    assert torch.equal(operator.data_consistency(x, y, 0.0), x)
    assert float((operator.residual(full, y) / operator.residual(x, y)).max()) <= 0.1


@every_inverse
def test_t_is_surjective_exactly_where_it_is_declared(case: Case) -> None:
    """T T_inv z = z for every z of the full grid if T is surjective, and for few z if it is not."""
    operator = case.operator()
    z = case.measurement(operator, seed=9)
    loss = relative(operator.T(operator.T_inv(z)), z)
    assert loss <= 100 * case.tolerance if operator.surjective else loss >= 0.05


@every_inverse
def test_t_inv_is_a_left_inverse_up_to_its_stated_loss(case: Case) -> None:
    """T_inv T x is x up to the stated loss of T_inv."""
    operator = case.operator()
    x = case.smooth(operator)
    loss = relative(operator.T_inv(operator.T(x)), x)
    assert loss <= (100 * case.tolerance if operator.surjective else 0.05)


CLOSED = {name: make for name, make in OPERATORS.items() if make().zero_filled_is_pinv}


@pytest.mark.parametrize("case", _cases(CLOSED), ids=repr)
def test_the_closed_form_of_the_pseudo_inverse_holds_where_it_is_declared(case: Case) -> None:
    """A^+ A is an orthogonal projection: its image and its remainder are orthogonal."""
    operator = case.operator()
    x = case.image(operator)
    seen = operator.zero_filled(operator.forward(x))
    cosine = dot(seen, x - seen).abs() / x.norm() ** 2
    assert float(cosine) <= 10 * case.tolerance


@in_float64
def test_an_empty_slice_does_not_slow_down_its_neighbours(case: Case) -> None:
    """y = 0 in one row of the batch: few iterations, a finite residual, the other row unchanged."""
    operator = case.operator()
    start = case.smooth(operator, seed=7)
    y = operator.forward(case.smooth(operator))
    y[1] = 0
    both = operator.project_exact(start, y, tol=1e-2)
    first, second = operator.select([0]), operator.select([1])
    alone = first.project_exact(start[:1], y[:1], tol=1e-2)
    assert both.iterations <= 3 * alone.iterations
    assert float(both.residual[1]) <= 1e-2 * float(second.forward(start[1:]).norm())
    assert relative(both.x[:1], alone.x) <= 1e-4
