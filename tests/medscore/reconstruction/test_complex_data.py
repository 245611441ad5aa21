"""The contract determines how complex data are used with a prior of real-valued images."""

import pytest
import torch

from medscore.errors import MedscoreError
from medscore.operators.mri.fourier import Fourier
from medscore.operators.mri.masks import equispaced
from medscore.operators.mri.real_images import Phased, TwoChannels
from medscore.priors.catalogue import shipped_priors
from medscore.priors.checkpoint import read_checkpoint
from medscore.priors.contract import DataContract
from medscore.reconstruction.complex_data import as_the_prior_sees


def contract(quantity: str) -> DataContract:
    of_mri = read_checkpoint(shipped_priors()["mri-128"]).contract
    return of_mri.model_copy(update={"quantity": quantity})


def test_each_quantity_has_its_rule() -> None:
    mask = equispaced((16, 16), 2.0)
    operator = Fourier(mask)
    k = torch.randn(1, 1, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    seen = as_the_prior_sees(contract("magnitude"), operator, k * mask)
    assert isinstance(seen, Phased)
    assert isinstance(as_the_prior_sees(contract("complex"), operator, k), TwoChannels)
    with pytest.raises(MedscoreError, match="HU"):
        as_the_prior_sees(contract("HU"), operator, k)


def test_shipped_priors_state_it() -> None:
    found = {n: read_checkpoint(p).contract.complex_data for n, p in shipped_priors().items()}
    assert found == {"mri-128": "phase-estimate"} | dict.fromkeys(("ct", "ct-128", "ct-128-vp"))
