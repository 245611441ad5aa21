"""Complex measurements with a prior of real-valued images.

For a prior of magnitudes, the phase of the image is estimated from the fully sampled centre of
k-space (``phase-estimate``). A prior of complex images has the real and the imaginary part as two
channels (``two-channel``). Other priors have no rule for complex data. The rule of a prior is
``ImageDomain.complex_data``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.operators.base import Operator
from medscore.operators.mri.centre import gridded, is_cartesian, sampled_cells, scanner
from medscore.operators.mri.multicoil import sensitivity_of
from medscore.operators.mri.multicoil_nufft import MulticoilNonuniform
from medscore.operators.mri.nufft import NonuniformFourier
from medscore.operators.mri.real_images import Phased, TwoChannels, estimate_phase


def as_the_prior_sees(
    domain: ImageDomain,
    operator: Operator,
    kspace: Tensor,
    sensitivity: Tensor | None = None,
) -> Operator:
    """An operator on the prior's real-valued images from an operator on complex images.

    Args:
        domain: image domain of the prior.
        operator: operator on complex images.
        kspace: the measurements, (batch, coil, ky, kx), or (batch, coil, samples) along a
            trajectory, with a fully sampled centre.
        sensitivity: coil sensitivity maps; None for a single coil.

    Raises:
        MedscoreError: the prior has no rule for complex data.
        ValueError: k-space has no fully sampled centre from which to estimate the phase.
    """
    rule = domain.complex_data
    if rule == "phase-estimate":
        rows, columns = operator.image_shape[-2:]
        scan = scanner(operator)
        if isinstance(scan, NonuniformFourier | MulticoilNonuniform):
            kspace, mask = gridded(scan, kspace), sampled_cells(scan)
        elif is_cartesian(operator):
            mask = operator.diagonal
            mask = mask.expand(*mask.shape[:-2], *operator.grid_shape[-2:])
        else:
            raise MedscoreError(
                f"prior {domain.name} models magnitudes, and the phase of complex images of "
                f"{operator!r} cannot be estimated",
                hint="use a prior of complex images, or give an operator on real images",
            )
        phase = estimate_phase(kspace, sensitivity, mask=mask, size=(rows, columns))
        return Phased(operator, phase)
    if rule == "two-channel":
        return TwoChannels(operator)
    raise MedscoreError(
        f"prior {domain.name} models {domain.quantity} images, which do not fit complex data",
        hint="use a prior of magnitudes or of complex images",
    )


def of_complex_images(m: Measurement) -> bool:
    """True if the measurement is of complex images.

    Args:
        m: the measurement.
    """
    first = torch.from_numpy(m.data[:1])
    return first.is_complex() and m.operator.select([0]).adjoint(first).is_complex()


def seen_by(domain: ImageDomain, m: Measurement) -> Operator:
    """The operator of a measurement on the prior's images.

    Args:
        domain: image domain of the prior.
        m: the measurement.

    Raises:
        MedscoreError: the prior has no rule for complex data, or the phase cannot be estimated.
    """
    if not of_complex_images(m):
        if domain.complex_data == "two-channel":
            raise MedscoreError(
                f"the measurement is of a real image, prior {domain.name} is of complex images",
                hint="use a prior of magnitudes, or a measurement of a complex image "
                "(`phase` random in simulations)",
            )
        return m.operator
    try:
        return as_the_prior_sees(
            domain, m.operator, torch.from_numpy(m.data), sensitivity_of(m.operator)
        )
    except ValueError as error:
        raise MedscoreError(
            f"the phase of the image cannot be estimated: {error}",
            hint="measure the centre of k-space, or use a prior of complex images",
        ) from error
