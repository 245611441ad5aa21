"""Posterior sampling fits each slice to its own measured rays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medscore.conditioners.proximal import Proximal
from medscore.datasets.volume import Source, Volume
from medscore.domain import ImageDomain
from medscore.engine.loop import StepInfo
from medscore.errors import Interrupted, MedscoreError
from medscore.hounsfield import MU_WATER, hu_to_mu
from medscore.measurements.measurement import ATTENUATION, Measurement
from medscore.measurements.simulation import simulate
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.nets.unet import UNetSpec
from medscore.operators.ct.geometry import ParallelBeam
from medscore.operators.ct.radon import Radon
from medscore.priors.analytic import GaussianPrior
from medscore.priors.contract import DataContract, Provenance, VESpec
from medscore.reconstruction.compatibility import check_compatible
from medscore.reconstruction.posterior import Plan, sample_posterior
from medscore.reconstruction.result import Reconstruction
from medscore.reconstruction.run import reconstruct
from medscore.registry.methods import CONDITIONERS
from medscore.samplers.grids import uniform
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.linear import VE

SIZE = 8
GEOMETRY = ParallelBeam(SIZE, 1.0, 16)


def measured(data: NDArray[np.float32], operator: Radon) -> Measurement:
    return Measurement(
        data=data,
        operator=operator,
        task="sparse-ct", modality="CT", image_unit=ATTENUATION, mu_water=MU_WATER, noise="none",
        affine=np.eye(4), source=Source("nifti", "", {}, ()),
    )  # fmt: skip


def of_network(network: UNetSpec | MonaiUNetSpec) -> DataContract:
    return DataContract(
        name="rows", modality="CT", quantity="HU", low=-1000.0, high=1500.0, size=SIZE,
        spacing_mm=(1, 1), data_mean=0.5, data_std=0.2, sde=VESpec(), network=network,
        provenance=Provenance(data="", patients=1, slices=1, steps=1, seed=0, licence=""),
    )  # fmt: skip


def scanned(mask: torch.Tensor, image: torch.Tensor) -> Reconstruction:
    """Two samples of each slice, from line integrals of ``image`` in HU on the rays of ``mask``."""
    operator = Radon(GEOMETRY, mask)
    measurement = measured(operator.forward(hu_to_mu(image)).numpy(), operator)
    contract = of_network(UNetSpec(channels=(8,), fold=1, groups=8))
    sde = VE(0.01, 5.0)
    prior = GaussianPrior(sde, torch.full((SIZE**2,), 0.4), 0.04 * torch.eye(SIZE**2))
    plan = Plan(
        ReverseDiffusion(),
        lambda a, y, std: Proximal(a, y),
        uniform(sde, 12),
        samples=2,
        batch_size=3,
    )
    return sample_posterior(measurement, prior, contract, plan)


def test_where_masks_differ_each_slice_is_fitted_on_its_own_rays() -> None:
    """Three slices, two samples each, in batches of three: samples of two slices in a batch."""
    generator = torch.Generator().manual_seed(0)
    image = 1000 * torch.rand(3, 1, SIZE, SIZE, generator=generator) - 500
    masks = torch.rand(3, 1, 16, 1, generator=generator) < 0.3
    found = scanned(masks, image)
    assert float(found.residual.max()) <= 1e-3
    first = scanned(masks[0, 0], image[:1])
    np.testing.assert_allclose(found.samples[0], first.samples[0], atol=1.0)  # HU
    assert float(np.abs(found.samples[1] - first.samples[0]).max()) > 50


def in_pairs(samples: int, seed: int, pairs: bool, batch_size: int = 8) -> Reconstruction:
    """Samples of two noisy slices by moment matching, which is linear for a Gaussian prior."""
    image = np.linspace(-900, 900, 2 * SIZE**2, dtype=np.float32).reshape(2, SIZE, SIZE)
    measurement = simulate(
        Volume(image, np.eye(4), "CT", Source("array", "00" * 32)), "inpaint", noise="gaussian:20"
    )
    prior = GaussianPrior(VE(0.01, 5.0), torch.full((64,), 0.4), 0.04 * torch.eye(64))
    prior.domain = ImageDomain(modality="CT", quantity="HU", low=-1000.0, high=1500.0)
    return reconstruct(
        measurement, prior, conditioner="moment-matching", sampler="ancestral-ve", grid="log-snr",
        steps=20, samples=samples, seed=seed, pairs=pairs, batch_size=batch_size,
    )  # fmt: skip


def test_the_mean_of_a_pair_is_that_of_every_pair_where_sampling_is_linear() -> None:
    """To 0.1 HU, with samples that vary by tens of HU; the first of each pair is as without."""
    found, other = in_pairs(4, 0, True), in_pairs(2, 1, True)
    assert found.pairs
    middles = (found.samples[:, ::2] + found.samples[:, 1::2]) / 2
    np.testing.assert_allclose(middles, other.mean[:, None].repeat(2, 1), atol=0.1)
    assert float(found.std.mean()) > 10
    single = in_pairs(4, 0, False)
    assert not single.pairs
    np.testing.assert_allclose(found.samples[:, ::2], single.samples[:, ::2], atol=0.01)
    assert float(np.abs(single.samples[:, 1] - found.samples[:, 1]).max()) > 10


def test_pairs_do_not_depend_on_the_batch_and_odd_numbers_have_none() -> None:
    whole, parts = in_pairs(4, 0, True), in_pairs(4, 0, True, batch_size=3)
    np.testing.assert_allclose(whole.samples, parts.samples, atol=0.01)
    odd = in_pairs(3, 0, True)
    assert not odd.pairs
    assert np.array_equal(odd.samples, in_pairs(3, 0, False).samples)
    assert odd.record["settings"]["pairs"] is True


def test_a_prior_of_volumes_is_refused_for_slices() -> None:
    network = MonaiUNetSpec(
        spatial_dims=3, channels=(8,), attention_levels=(False,), res_blocks=1,
        norm_num_groups=8, num_head_channels=8,
    )  # fmt: skip
    measurement = measured(np.zeros((1, 1, 16, 12), np.float32), Radon(GEOMETRY, torch.ones(16, 1)))
    with pytest.raises(MedscoreError, match="dimension is 2, prior rows has 3"):
        check_compatible(of_network(network), measurement, where=Path("m.h5"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONDITIONERS)
def test_a_resumed_run_counts_the_operator_calls_of_an_uninterrupted_one(
    tmp_path: Path, name: str
) -> None:
    """Also those of conditioners that compute the norm of A at their first step and keep it."""
    image = np.linspace(-900, 900, 2 * SIZE**2, dtype=np.float32).reshape(2, SIZE, SIZE)
    volume = Volume(image, np.eye(4), "CT", Source("array", "00" * 32))
    noise = "none" if name == "ddrm" else "gaussian:20"  # whitening would not keep T orthogonal
    measurement = simulate(volume, "inpaint", noise=noise)
    sde = VE(0.01, 5.0)
    prior = GaussianPrior(sde, torch.full((SIZE**2,), 0.4), 0.04 * torch.eye(SIZE**2))
    prior.domain = ImageDomain(modality="CT", quantity="HU", low=-1000.0, high=1500.0)
    seen: list[int] = []

    def found(steps: int | None = None) -> Reconstruction:
        def stop(info: StepInfo) -> None:
            seen.append(info.done)
            if info.done == steps:
                raise KeyboardInterrupt

        return reconstruct(
            measurement, prior, conditioner=name, sampler="ddim", grid="uniform", steps=12,
            batch_size=1, across_slices="none", state=tmp_path / "state", on_step=stop,
        )  # fmt: skip

    whole = found()
    seen.clear()
    with pytest.raises(Interrupted):
        found(17)
    resumed = found()
    assert seen == list(range(1, 25))
    assert resumed.operator_calls == whole.operator_calls
    assert (resumed.samples == whole.samples).all()
    assert not list(tmp_path.iterdir())
