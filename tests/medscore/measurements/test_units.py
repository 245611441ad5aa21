"""The affine map between HU, attenuation and the prior's range."""

import pytest
import torch
from hypothesis import given, strategies as st

from medscore.hounsfield import MU_WATER, hu_to_mu, mu_to_hu
from medscore.measurements.units import NetworkUnits
from medscore.nets.unet import UNetSpec
from medscore.operators.ct.scans import sparse_view
from medscore.priors.contract import DataContract, Provenance, VESpec

SIZE = 16


def contract(low: float, high: float) -> DataContract:
    return DataContract(
        name="units", modality="CT", quantity="HU", low=low, high=high, size=SIZE,
        spacing_mm=(1, 1), data_mean=0.5, data_std=0.2, sde=VESpec(),
        network=UNetSpec(channels=(8,), fold=1, groups=8),
        provenance=Provenance(data="", patients=1, slices=1, steps=1, seed=0, licence=""),
    )  # fmt: skip


@pytest.mark.parametrize(("low", "high"), [(-1000.0, 1500.0), (-500.0, 300.0), (0.0, 1000.0)])
def test_a_range_that_does_not_start_at_air_is_shifted(low: float, high: float) -> None:
    """y of mu = shift + unit x, brought to the prior's range, is A x; x in HU is low + scale x."""
    given = contract(low, high)
    units, operator = NetworkUnits.of_attenuation(given, MU_WATER), sparse_view(SIZE, 2.0, 5)
    x = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    hu = low + (high - low) * x
    y = operator.forward(hu_to_mu(hu))
    found = units.measurements(operator, y)
    torch.testing.assert_close(found, operator.forward(x), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(units.to_values(x), hu, atol=1e-2, rtol=1e-4)


def test_water_and_air_have_their_hounsfield_units() -> None:
    assert float(mu_to_hu(torch.tensor(MU_WATER))) == 0
    assert float(mu_to_hu(torch.tensor(0.0))) == -1000
    assert float(hu_to_mu(torch.tensor(-2000.0))) == 0  # padding


@given(hu=st.floats(-1000, 32767))
def test_hounsfield_units_come_back_from_attenuation(hu: float) -> None:
    """In single precision, through 1/mm, to less than half a unit."""
    value = torch.tensor(hu, dtype=torch.float32)
    assert abs(float(mu_to_hu(hu_to_mu(value))) - hu) < 0.5
