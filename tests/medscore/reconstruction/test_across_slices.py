"""Volumes whose slices are reconstructed together: what `across_slices` does, and refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local_networks import write_prior
from stacks import prior, scan, volume

import medscore as ms
from medscore.engine.loop import StepInfo
from medscore.errors import Interrupted, MedscoreError
from medscore.measurements.measurement import Measurement
from medscore.measurements.simulation import simulate
from medscore.reconstruction import volumes
from medscore.reconstruction.sampling import Sampling
from medscore.registry.settings import Settings


def found(m: Measurement, **given: Any) -> ms.Reconstruction:
    return ms.reconstruct(m, prior(), steps=6, **{"preset": "sharpest", **given})


def roughness(r: ms.Reconstruction) -> float:
    return float(np.abs(np.diff(r.samples[:, 0], axis=0)).mean())


def test_total_variation_makes_neighbouring_slices_alike_more_with_more_strength() -> None:
    m = scan()
    none, weak, strong = (
        found(m, across_slices=rule, parameters=parameters)
        for rule, parameters in (
            ("none", {}),
            ("tv", {"across_slices.strength": 0.1}),
            ("tv", {"across_slices.strength": 1.0}),
        )
    )
    assert roughness(none) > 1.05 * roughness(weak) > 1.05 * roughness(strong)
    again = found(m, across_slices="tv", parameters={"across_slices.strength": 0.0})
    np.testing.assert_allclose(again.samples, none.samples, atol=0.05)


def test_the_number_of_slices_at_a_time_does_not_matter() -> None:
    m = scan()
    one, two, all_ = (
        found(m, across_slices="tv", samples=2, batch_size=size).samples for size in (1, 2, 8)
    )
    np.testing.assert_allclose(one, all_, atol=0.05)
    np.testing.assert_allclose(two, all_, atol=0.05)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({}, "tv"),
        ({"preset": "fast"}, "tv"),
        ({"conditioner": "diffpir"}, "tv"),
        ({"across_slices": "none"}, None),
        ({"conditioner": "proximal"}, None),
        ({"influence": True, "samples": 2}, None),
    ],
)
def test_total_variation_is_the_default_of_ct_volumes_with_diffpir(
    given: dict[str, Any], rule: str | None
) -> None:
    record = found(scan(), **given).record
    assert record["settings"].get("across_slices") == rule
    strength = record["settings"]["parameters"].get("across_slices.strength")
    assert (strength is None) == (rule is None)


def test_it_is_not_the_default_of_one_slice_or_of_mr() -> None:
    assert "across_slices" not in found(scan(1)).record["settings"]
    m = simulate(volume(modality="MR"), "mri", acceleration=2)
    r = ms.reconstruct(m, prior("MR"), steps=2, preset="sharpest")
    assert "across_slices" not in r.record["settings"]
    tv = ms.reconstruct(m, prior("MR"), steps=2, preset="sharpest", across_slices="tv")
    assert tv.record["settings"]["across_slices"] == "tv"


@pytest.mark.parametrize(
    ("slices", "given", "why"),
    [
        (1, {"across_slices": "tv"}, "couples slices, but there is one slice"),
        (5, {"across_slices": "tv", "influence": True, "samples": 2}, "`influence` is measured"),
        (5, {"across_slices": "2d"}, "no across_slices '2d' - use one of: none, tv, 2.5d, planes"),
        (5, {"across_slices": "tv", "preset": "posterior"}, "reconstructed together"),
        (
            5,
            {"parameters": {"across_slices.strength": -1}, "across_slices": "tv"},
            "strength is -1 - use a number",
        ),
        (5, {"parameters": {"across_slices.size": 1}}, "no parameter 'size'"),
        (5, {"across_slices": "2.5d"}, "the prior g has no 2.5-D network - use tv, or train"),
    ],
)
def test_refuses_what_does_not_go_with_it(slices: int, given: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why) as caught:
        found(scan(slices), **given)
    assert "\n" not in str(caught.value)


def test_a_volume_that_the_memory_does_not_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(volumes, "machine_memory", lambda: 20_000)
    with pytest.raises(MedscoreError, match=r"keeps 5 slices in memory .* set it to none"):
        found(scan())
    assert found(scan(), across_slices="none").mean.shape == (5, 8, 8)


def test_an_interrupted_volume_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    m, seen = scan(), []

    def stop(info: StepInfo) -> None:
        seen.append(info.done)
        if len(seen) == 9:  # in the middle of the second sample
            raise KeyboardInterrupt

    method = Sampling(Settings(steps=6, samples=2, across_slices="tv"), prior=prior())
    run = {"prior": prior(), "steps": 6, "samples": 2, "across_slices": "tv"}
    state = tmp_path / "state"
    with pytest.raises(Interrupted):
        ms.reconstruct(m, **run, state=state, on_step=stop)  # type: ignore[arg-type]
    resumed = ms.reconstruct(m, **run, state=state)  # type: ignore[arg-type]
    assert not state.exists()
    np.testing.assert_array_equal(resumed.samples, method.reconstruct(m).samples)


def test_volumes_that_are_scanned_whole_are_coupled_too() -> None:
    m = simulate(volume(), "cone-ct", views=4, noise="gaussian:0.01")
    assert roughness(found(m, across_slices="tv")) < roughness(found(m, across_slices="none"))
    assert found(m).record["settings"]["across_slices"] == "tv"


def test_slices_of_three_orientations_are_denoised_by_one_prior_or_two(tmp_path: Path) -> None:
    """Three evaluations for one; the record names the weights, but no folder."""
    own = write_prior(tmp_path / "any.safetensors")
    cubes = replace(volume(), affine=np.diag([-1.0, -1.0, 1.0, 1.0]))
    m = simulate(cubes, "sparse-ct", views=5, noise="gaussian:0.01")
    alone = ms.reconstruct(m, str(own), steps=3, across_slices="none")
    parameters = {"across_slices.prior": str(own), "across_slices.share": 0.5}
    r = ms.reconstruct(m, str(own), steps=3, across_slices="planes", parameters=parameters)
    assert r.nfe == 3 * alone.nfe
    assert not np.allclose(r.mean, alone.mean, atol=1.0)
    assert r.record["prior"]["planes_sha256"] == r.record["prior"]["sha256"]
    assert str(tmp_path) not in str(r.record)
    plain = ms.reconstruct(
        m, str(own), steps=3, across_slices="planes", parameters={"across_slices.share": 0.0}
    )
    np.testing.assert_allclose(plain.mean, alone.mean, atol=0.1)
    with pytest.raises(MedscoreError, match="1 mm apart, and their pixels are 2 mm wide"):
        ms.reconstruct(scan(), str(own), steps=3, across_slices="planes")
