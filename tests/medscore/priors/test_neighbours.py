"""The 2.5-D prior of volumes: its parts, and the file beside the prior of slices."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from local_networks import SMALL, randomised, write_prior

from medscore.errors import MedscoreError
from medscore.io.group import Group
from medscore.nets.neighbours import NeighboursDenoiser, NeighboursSpec, mirrored
from medscore.priors import neighbours
from medscore.priors.across import Across, Coupling, Denoised, Independent
from medscore.priors.analytic import GaussianPrior
from medscore.priors.checkpoint import load_prior
from medscore.priors.contract import Provenance
from medscore.priors.file_names import neighbours_path, prior_files
from medscore.priors.neighbours import Neighbours, NeighboursOfVolume
from medscore.priors.neighbours_file import NEIGHBOURS, NeighboursContract
from medscore.priors.network import NetworkPrior
from medscore.priors.slice_tv import SliceTV
from medscore.sdes.linear import VE

SPEC = NeighboursSpec(reach=2, width=8, blocks=1)


def network() -> NeighboursDenoiser:
    torch.manual_seed(0)
    made = SPEC.build()
    randomised(made)
    return made.eval().requires_grad_(False)


def volumes(batch: int = 2, slices: int = 6) -> Denoised:
    generator = torch.Generator().manual_seed(3)
    x, z = (torch.randn(batch, 1, slices, 6, 7, generator=generator) for _ in range(2))
    return Denoised(x, x + 0.3 * z, 0.3)


def write(folder: Path) -> Path:
    """A prior with a 2.5-D network of random weights beside it."""
    path = write_prior(folder / "any.safetensors")
    prior = load_prior(path)
    provenance = Provenance(
        data="none", patients=1, slices=1, steps=1, seed=0, licence="CC0", config_sha256="0" * 64
    )
    contract = NeighboursContract(
        name="any.neighbours", body="any", body_sha256=prior.sha256, network=SPEC,
        slice_mm=(1.0, 5.0), ratios=(0.1, 2.0), provenance=provenance,
    )  # fmt: skip
    NEIGHBOURS.save(neighbours_path(path), contract, network().network.state_dict())
    return path


def test_every_slice_is_improved_by_its_own_neighbours() -> None:
    found = NeighboursOfVolume(network(), 2.0, 0.8).couple(given := volumes())
    assert found.shape == given.slices.shape
    noise = (given.noisy - given.slices) / given.ratio
    for b in range(2):
        for k in range(6):
            near = mirrored(k - 2, k + 3, 6)
            expected = network().improved(
                given.slices[b, 0, near], noise[b, 0, near], torch.tensor(0.3), 2.0, 0.8
            )
            torch.testing.assert_close(found[b, 0, k], expected[0])


@pytest.mark.parametrize("part", [slice(0, 2), slice(2, 5), slice(4, None)])
def test_parts_of_the_slices_are_those_of_all(part: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = NeighboursOfVolume(network(), 2.0, 0.8)
    expected = rule.couple(volumes())[:, :, part]
    monkeypatch.setattr(neighbours, "AT_A_TIME", 1)
    torch.testing.assert_close(rule.couple(volumes(), part), expected)


@pytest.mark.parametrize("slices", [2, 3])
def test_volumes_of_few_slices_have_neighbours_too(slices: int) -> None:
    given = volumes(1, slices)
    found = NeighboursOfVolume(network(), 2.0, 0.8).couple(given)
    assert found.shape == given.slices.shape
    assert bool(found.isfinite().all())


def test_a_prior_has_the_network_of_the_file_beside_it_on_any_grid(tmp_path: Path) -> None:
    path = write(tmp_path)
    prior = load_prior(path)
    assert isinstance(prior.neighbours, NeighboursDenoiser)
    assert prior.neighbours.sha256 == NEIGHBOURS.read(neighbours_path(path)).sha256
    assert prior_files(tmp_path) == [path]
    placed = prior.on_grid((12, 12), 0.8)
    rule = Neighbours().placed(placed, (2.0, 0.8))
    assert (rule.network, rule.slice_mm, rule.pixel_mm) == (prior.neighbours, 2.0, 0.8)
    weights = zip(
        prior.neighbours.network.parameters(), network().network.parameters(), strict=True
    )
    for found, expected in weights:
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)  # float16


def test_slices_stay_as_they_are_at_noise_levels_that_it_does_not_know(tmp_path: Path) -> None:
    prior = load_prior(write(tmp_path))
    rule = Neighbours().placed(prior, (2.0, 0.8))
    for ratio, known in ((0.09, False), (0.11, True), (1.9, True), (2.1, False)):
        given = replace(volumes(), ratio=ratio)
        assert torch.equal(rule.couple(given), given.slices) != known
        assert torch.equal(rule.couple(given, slice(1, 3)), given.slices[:, :, 1:3]) != known


def test_a_network_of_another_prior_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    write_prior(path, network=SMALL.model_copy(update={"channels": (8, 12)}))
    with pytest.raises(MedscoreError, match="belongs to the prior any with the hash"):
        load_prior(path)
    neighbours_path(path).write_bytes(b"not weights")
    with pytest.raises(MedscoreError, match="not a safetensors file"):
        load_prior(path)


def test_a_prior_without_the_network_is_refused(tmp_path: Path) -> None:
    prior = load_prior(write_prior(tmp_path / "any.safetensors"))
    assert isinstance(prior, NetworkPrior)
    with pytest.raises(MedscoreError, match=r"no 2\.5-D network"):
        Neighbours().placed(prior, (1.0, 1.0))


@pytest.mark.parametrize("rule", [NeighboursOfVolume(network(), 2.0, 0.8), SliceTV(strength=0.5)])
def test_processes_with_some_slices_each_make_the_volume_of_one(rule: Coupling) -> None:
    prior = GaussianPrior(VE(0.01, 20.0), torch.zeros(42), 0.3 * torch.eye(42))
    slices, t = volumes(1, 7).noisy[0].transpose(0, 1), torch.full((7,), 0.5)
    expected = Across(prior, rule, stacked=True).denoise(slices, t)
    alone = Across(prior, Independent(), stacked=True).denoise(slices, t)

    class Shared(Group):
        """One of several processes, which gets the parts of the others as they would send them."""

        def gather(self, part: torch.Tensor) -> torch.Tensor:
            whole = slices if torch.equal(part, slices[self.share(7)]) else alone
            torch.testing.assert_close(part, whole[self.share(7)])
            return whole

    for rank in range(3):
        group = Shared(rank, 3)
        own = group.share(7)
        found = Across(prior, rule, stacked=True, group=group).denoise(slices[own], t[own])
        torch.testing.assert_close(found, expected[own])
