"""CT: filtered back-projection, scan geometries and units of projections.

All data are exact line integrals of ellipses. "Error" is the mean over a disc, relative to water.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import yaml
from cases.base import Case, Found, command
from numpy.typing import NDArray
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.measurement import read_measurement
from medscore.operators.ct.geometry import FanBeam, Geometry, ParallelAngles, ParallelBeam
from medscore.operators.ct.phantoms import Ellipse, exact_sinogram
from medscore.operators.ct.radon import Radon

MU, SIZE, SPACING = 0.02, 96, 2.5
HALF = SIZE * SPACING / 2
FAR = Ellipse(MU / 2, 0.7 * HALF * math.cos(2.5), 0.7 * HALF * math.sin(2.5), 15.0, 15.0)
PHANTOM = (Ellipse(MU, 0.0, 0.0, 0.95 * HALF, 0.95 * HALF), FAR)
"""A water disc that fills the field, and a disc of 500 HU far from its centre."""


def fan(shape: str = "flat", distance: float = 595.0, **changes: Any) -> FanBeam:
    """A full turn of 360 views."""
    made = FanBeam(SIZE, SPACING, 360, distance, 1.8 * distance, detector_shape=shape)
    return replace(made, **changes)


def scanned(g: Geometry) -> Tensor:
    """Line integrals (1, 1, views, detectors), each the mean of three thin rays."""
    thin = replace(g, detectors=3 * g.detectors, detector_spacing=g.detector_spacing / 3)
    return exact_sinogram(PHANTOM, thin).unflatten(-1, (g.detectors, 3)).mean(-1)


def judged(image: Tensor, tolerance: float) -> Found:
    """The errors of the two discs in HU."""
    at = (torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2) * SPACING
    r = torch.hypot(at[None, :], at[:, None])
    far = torch.hypot(at[None, :] - FAR.x, -at[:, None] - FAR.y)
    water = image[0, 0][(r < 0.5 * HALF) & (far > 20)].mean()
    denser = image[0, 0][far < 10].mean()
    errors = [1000 * (float(value) / MU - level) for value, level in ((water, 1), (denser, 1.5))]
    return Found(
        f"{errors[0]:+.1f} HU in water, {errors[1]:+.1f} HU far from the centre",
        right=max(map(abs, errors)) <= tolerance,
    )


def of_views(
    geometry: Callable[[], Geometry],
    measured: Callable[[Tensor], Tensor] | None = None,
    tolerance: float = 2.0,
) -> Callable[[Path], Found]:
    """Filtered back-projection of some views, chosen by their angles in degrees."""

    def find(_: Path) -> Found:
        g = geometry()
        seen = torch.ones(g.views, dtype=torch.bool)
        if measured is not None:
            seen = measured(g.angles.rad2deg())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            operator = Radon(g, seen[:, None])
        return judged(operator.fbp(scanned(g) * seen[:, None]), tolerance)

    return find


def refusal_of_views(
    geometry: Callable[[], Geometry], measured: Callable[[Tensor], Tensor], word: str
) -> Callable[[Path], Found]:
    """A refusal that contains ``word``."""

    def find(folder: Path) -> Found:
        try:
            return Found(of_views(geometry, measured)(folder).text, right=False)
        except MedscoreError as error:
            return Found(str(error), right=word in str(error))

    return find


def arc(start: float, length: float) -> Callable[[Tensor], Tensor]:
    """Views of an arc in degrees."""
    return lambda degrees: (degrees - start).remainder(360) < length - 1e-6


def parallel(degrees: Sequence[float] | NDArray[Any]) -> Callable[[], Geometry]:
    """A parallel beam at listed angles."""
    angles = np.sort(np.radians(np.asarray(degrees, dtype=np.float64)))
    return lambda: ParallelAngles(SIZE, SPACING, tuple(angles.tolist()))


def fan_list(degrees: Sequence[float] | NDArray[Any]) -> Callable[[], Geometry]:
    """A fan beam at listed angles."""
    angles = tuple(np.sort(np.radians(np.asarray(degrees, dtype=np.float64))).tolist())
    return lambda: fan(views=len(angles), list_of_angles=angles)


def half_fan() -> Geometry:
    """A detector that reaches from a little beyond the axis to one end of the image."""
    whole = fan()
    n = whole.detectors // 2 + 10
    return replace(whole, detectors=n, detector_offset=(n / 2 - 10) * whole.detector_spacing)


def half_parallel() -> Geometry:
    """The same of a parallel beam, over a full turn."""
    angles = tuple(np.radians(np.arange(0, 360, 1.0)).tolist())
    return ParallelAngles(SIZE, SPACING, angles, 78, SPACING, 29 * SPACING)


def measured(
    data: NDArray[Any], fields: dict[str, Any], folder: Path
) -> tuple[int, str, Tensor | None]:
    """``medscore measure``, and filtered back-projection of what it wrote."""
    tifffile.imwrite(folder / "p.tif", data.astype(np.float32))
    base = {"size": SIZE, "spacing": SPACING, "detector_spacing": SPACING}
    (folder / "g.yaml").write_text(yaml.safe_dump({**base, **fields}))
    code, line = command("measure", "p.tif", "--geometry", "g.yaml", "-o", "m.h5", folder=folder)
    if code:
        return code, line, None
    m = read_measurement(folder / "m.h5")
    assert isinstance(m.operator, Radon)
    return code, line, m.operator.fbp(torch.from_numpy(m.data))


def from_file(
    geometry: Callable[[], Geometry],
    fields: dict[str, Any],
    order: NDArray[np.intp] | None = None,
) -> Callable[[Path], Found]:
    """The image of projections, their views in any ``order``, that come with a geometry file."""

    def find(folder: Path) -> Found:
        data = scanned(geometry())[0, 0].numpy()
        _, line, image = measured(data if order is None else data[order], fields, folder)
        return Found(line, right=False) if image is None else judged(image, 4.0)

    return find


def refused(
    change: Callable[[NDArray[Any]], NDArray[Any]], fields: dict[str, Any], word: str
) -> Callable[[Path], Found]:
    """A refusal of values or of a geometry that contains ``word``."""

    def find(folder: Path) -> Found:
        data = change(scanned(ParallelBeam(SIZE, SPACING, 60))[0, 0].numpy())
        whole = {"beam": "parallel", "views": 60, **fields}
        code, line, _ = measured(data, {k: v for k, v in whole.items() if v is not None}, folder)
        return Found(line, right=code == 2 and word in line)

    return find


RANDOM = np.random.default_rng(0)
FAN, UNEVEN, SHORT = "Fan-beam back-projection", "Unevenly spaced views", "Short scans of fan beams"
DISPLACED, UNITS, ANGLES = "Displaced detectors", "Units of projections", "Lists of angles"
WITHIN = "within 2 HU of water and of 500 HU"
COUNTS: Callable[[NDArray[Any]], NDArray[Any]] = lambda p: np.rint(4e4 * np.exp(-p))  # noqa: E731
TURNED = np.arange(200.0, 376.0, 1.0)
GOLDEN = 111.246 * np.arange(180) % 180

CASES = [
    *(
        Case(FAN, f"{shape} detector, source at {distance:g} mm", WITHIN,
             of_views(lambda shape=shape, distance=distance: fan(shape, distance)),
             "Kak and Slaney 1988, Eq. 3.81 and 3.107")
        for shape in ("flat", "curved") for distance in (595.0, 250.0)
    ),
    Case(UNEVEN, "parallel, 200 views drawn at random", "within 4 HU",
         of_views(parallel(RANDOM.uniform(0, 180, 200)), tolerance=4), "odlgroup/odl#267"),
    Case(UNEVEN, "parallel, every half degree to 60, then every 2 degrees", "within 4 HU",
         of_views(parallel(np.r_[np.arange(0, 60, 0.5), np.arange(60, 180, 2.0)]), tolerance=4),
         "odlgroup/odl#267"),
    Case(UNEVEN, "parallel, both ends of half a turn", "within 4 HU",
         of_views(parallel(np.arange(-90, 91, 1.0)), tolerance=4), "RI-imaging/radontea#7"),
    Case(UNEVEN, "parallel, some views twice", "within 4 HU",
         of_views(parallel(np.r_[np.arange(0, 180, 1.0), np.arange(0, 60, 1.0)]), tolerance=4),
         "TomographicImaging/CIL#1400"),
    Case(UNEVEN, "fan, 500 views drawn at random", "within 4 HU",
         of_views(fan_list(RANDOM.uniform(0, 360, 500)), tolerance=4), "odlgroup/odl#267"),
    Case(UNEVEN, "fan, a gap of 30 degrees", WITHIN,
         of_views(fan_list(np.r_[np.arange(0, 100, 1.0), np.arange(130, 360, 1.0)]))),
    *(
        Case(SHORT, f"{length:g} degrees from {start:g}, {shape} detector", WITHIN,
             of_views(lambda shape=shape: fan(shape), arc(start, length)), source)
        for start, length, shape, source in (
            (0, 216, "flat", "odlgroup/odl#824"), (0, 216, "curved", "odlgroup/odl#824"),
            (250, 216, "flat", "JuliaImageRecon/Sinograms.jl#39"),
            (90, 270, "flat", "TomographicImaging/CIL#1399"),
            (0, 356, "curved", "CERN/TIGRE#743"),
        )
    ),
    Case(SHORT, "150 degrees", "a refusal that states the arc needed",
         refusal_of_views(fan, arc(0, 150), "needs an arc of")),
    Case(DISPLACED, "fan, a quarter of a detector", WITHIN,
         of_views(lambda: fan(detectors=0, detector_offset=0.25 * fan().detector_spacing))),
    Case(DISPLACED, "fan, a quarter of a detector, 216 degrees", WITHIN,
         of_views(lambda: fan(detectors=0, detector_offset=0.25 * fan().detector_spacing),
                  arc(0, 216)), "CERN/TIGRE#778"),
    Case(DISPLACED, "fan, half of the image in each view", WITHIN, of_views(half_fan),
         "CERN/TIGRE#386"),
    Case(DISPLACED, "fan, half of the image in each view, 216 degrees", "a refusal",
         refusal_of_views(half_fan, arc(0, 216), "full turn"), "CERN/TIGRE#778"),
    Case(DISPLACED, "parallel, half of the image in each view", WITHIN, of_views(half_parallel)),
    Case(DISPLACED, "geometry file, `centre_of_rotation`", "within 4 HU",
         from_file(lambda: ParallelBeam(SIZE, SPACING, 180, 150, SPACING, 2.3 * SPACING),
                   {"beam": "parallel", "views": 180, "centre_of_rotation": 74.5 - 2.3}),
         "tomopy/tomopy#409"),
    Case(DISPLACED, "geometry file, `detector_offset` of a fan beam", "within 4 HU",
         from_file(lambda: fan(detectors=160, detector_spacing=4.0, detector_offset=9.0),
                   {"beam": "fan", "views": 360, "detector_spacing": 4.0, "detector_offset": 9.0,
                    "source_distance": 595.0, "detector_distance": 1071.0}),
         "TomographicImaging/CIL#2318"),
    Case(ANGLES, "200 to 375 degrees", "within 4 HU",
         from_file(parallel(TURNED - 360), {"beam": "parallel", "angles": TURNED.tolist()})),
    Case(ANGLES, "in the order of the golden angle", "within 4 HU",
         from_file(parallel(GOLDEN), {"beam": "parallel", "angles": GOLDEN.tolist()},
                   np.argsort(np.argsort(GOLDEN)))),
    Case(ANGLES, "radians", "a refusal that says so",
         refused(lambda p: p, {"views": None, "angles": np.linspace(0, 3.09, 60).tolist()},
                 "radians")),
    Case(UNITS, "counts as transmission", "a refusal that names the unit",
         refused(COUNTS, {"values": "transmission"}, "flat field"), "RTKConsortium/RTK#369"),
    Case(UNITS, "counts as line integrals", "a refusal that names the unit",
         refused(COUNTS, {}, "counts"), "RTKConsortium/RTK#369"),
    Case(UNITS, "transmission as line integrals", "a refusal that names the unit",
         refused(lambda p: np.exp(-p), {}, "transmission"), "ufo-kit/tofu#35"),
    Case(UNITS, "line integrals as transmission", "a refusal that names the unit",
         refused(lambda p: p, {"values": "transmission"}, "line-integrals")),
    Case(UNITS, "line integrals of the wrong sign", "a refusal",
         refused(lambda p: -p, {}, "sign")),
]  # fmt: skip
