"""Complex measurements and a prior of real numbers: the contract's rule, applied.

``DataContract.complex_data`` states which: a prior of magnitudes takes the image's phase from the
fully sampled centre of k-space (``phase-estimate``); a prior of complex images sees real and
imaginary part as two channels (``two-channel``); others know no complex data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medscore.errors import MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.operators.base import Operator
from medscore.operators.mri.multicoil import sensitivity_of
from medscore.operators.mri.real_images import Phased, TwoChannels, estimate_phase
from medscore.priors.contract import DataContract
from medscore.types import Kspace


def as_the_prior_sees(
    contract: DataContract,
    operator: Operator,
    kspace: Kspace,
    sensitivity: Tensor | None = None,
) -> Operator:
    """``operator``, of complex images, as one of the prior's real images.

    Args:
        kspace: the measurements, (batch, coil, ky, kx), with a fully sampled centre.
        sensitivity: the coils' maps, where there are several.

    Raises:
        MedscoreError: the prior's quantity has no rule. ValueError: no centre to take a phase from.
    """
    rule = contract.complex_data
    if rule == "phase-estimate":
        return Phased(operator, estimate_phase(kspace, sensitivity))
    if rule == "two-channel":
        return TwoChannels(operator)
    raise MedscoreError(
        f"prior {contract.name} is of {contract.quantity}, which complex data have not",
        hint="use a prior of magnitudes or of complex images",
    )


def seen_by(contract: DataContract, m: Measurement) -> Operator:
    """The measurement's operator on the prior's images: complex images by the contract's rule.

    Raises:
        MedscoreError: the prior has no rule for them, or the scan no centre to take a phase from.
    """
    first = torch.from_numpy(m.data[:1])
    if not first.is_complex() or not m.operator.select([0]).adjoint(first).is_complex():
        return m.operator
    try:
        return as_the_prior_sees(
            contract, m.operator, torch.from_numpy(m.data), sensitivity_of(m.operator)
        )
    except ValueError as error:
        raise MedscoreError(
            f"the image's phase is not known: {error}",
            hint="measure the centre of k-space, or use a prior of complex images",
        ) from error
