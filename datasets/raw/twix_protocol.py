"""Matrix and field of view in the protocol of Siemens raw data, as an encoding space of ISMRMRD.

The rules are those of siemens_to_ismrmrd: the encoded matrix is that of the Fourier transforms, and
its fields of view include the oversampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medscore.datasets.raw.encoding import Encoding
from medscore.errors import MedscoreError

CARTESIAN = 1.0
"""Value of ucTrajectory."""

Header = Mapping[str, Mapping[str, Any]]


def encoding_of(header: Header, lines: Sequence[Any], where: Path) -> Encoding:
    """The encoding space of a measurement.

    Args:
        header: parsed protocol by section.
        lines: the lines of the measurement.
        where: file to name in errors.

    Raises:
        MedscoreError: the trajectory is not Cartesian, or readouts need regridding.
        ValueError: a length is missing.
    """
    protocol, meas = header.get("MeasYaps", {}), header.get("Meas", {})
    space = protocol.get("sKSpace", {})
    trajectory = _number(space.get("ucTrajectory"), CARTESIAN)
    if trajectory != CARTESIAN:
        raise MedscoreError(
            f"the trajectory is not Cartesian (ucTrajectory {trajectory:g})",
            where=where,
            hint="use a Cartesian scan",
        )
    grid = _number(_first(meas.get("alRegridMode")), 1.0)
    if grid not in (0, 1):
        raise MedscoreError(
            f"readouts were sampled during gradient ramps, as EPI's are (alRegridMode {grid:g}): "
            "regridding is not implemented",
            where=where,
            hint="use a scan with one line for each excitation, such as GRE or spin echo",
        )
    images = [x for x in lines if not x.flags] or list(lines)
    centre, planes = _centre(images)
    base = int(_number(space.get("lBaseResolution"), 0.0))
    over = max(1.0, _number(meas.get("flReadoutOSFactor"), 2.0))
    x = int(
        max(_number(meas.get("iRoFTLength"), over * base), *(n.number_of_samples for n in images))
    )
    y = max(
        int(_number(meas.get("iPEFTLength"), 0.0)),
        2 * max(centre, 1 + max(n.idx.kspace_encode_step_1 for n in images) - centre),
    )
    is_volume = _number(space.get("ucDimension"), 2.0) == 4
    z = 1
    if is_volume:
        last = 1 + max(n.idx.kspace_encode_step_2 for n in images)
        z = max(int(_number(meas.get("i3DFTLength"), 0.0)), 2 * max(planes, last - planes))
    first = _first(protocol.get("sSliceArray", {}).get("asSlice"))
    if not isinstance(first, Mapping):
        raise ValueError("the protocol states no slice")
    read, phase, thick = (
        _number(first.get(n), 0.0) for n in ("dReadoutFOV", "dPhaseFOV", "dThickness")
    )
    if not (0 < read < 1e4 and 0 < phase < 1e4 and 0 < thick < 1e4):
        raise ValueError(f"the field of view is {read:g} x {phase:g} x {thick:g} mm")
    wide = 1 + max(0.0, _number(space.get("dPhaseOversamplingForDialog"), 0.0))
    deep = 1 + max(0.0, _number(space.get("dSliceOversamplingForDialog"), 0.0))
    slices = max(1, int(_number(space.get("lImagesPerSlab"), float(z)))) if is_volume else 1
    between = thick * deep if is_volume else _distance(protocol, thick)
    return Encoding(
        trajectory="cartesian",
        matrix=(x, y, z),
        recon_matrix=(round(x / over), round(y / wide), slices),
        field=(read * over, phase * wide, between),
        recon_field=(read, phase, thick),
        centre=centre,
        calibration="",
        partition_centre=planes if is_volume else None,
    )


def dwell_time(header: Header) -> float:
    """Time between two samples of the first contrast in ns; 0 where the protocol has none.

    Args:
        header: parsed protocol by section.
    """
    receiver = header.get("MeasYaps", {}).get("sRXSPEC", {})
    return _number(_first(receiver.get("alDwellTime")), 0.0)


def _centre(lines: Sequence[Any]) -> tuple[int, int]:
    return int(lines[0].centre[0]), int(lines[0].centre[1])


def _distance(protocol: Mapping[str, Any], thick: float) -> float:
    """Distance of neighbouring slices in mm: their thickness where there is only one."""
    slices = protocol.get("sSliceArray", {}).get("asSlice", [])
    places = []
    for one in slices[:2]:
        position = one.get("sPosition", {}) if isinstance(one, Mapping) else {}
        places.append([_number(position.get(n), 0.0) for n in ("dSag", "dCor", "dTra")])
    apart = math.dist(*places) if len(places) == 2 else 0.0
    return apart if 0 < apart < 1e3 else thick


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None if value == [] else value


def _number(value: Any, otherwise: float) -> float:
    """A number of the protocol, which leaves out what has its usual value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return float(value) if math.isfinite(value) else otherwise
