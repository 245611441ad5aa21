"""The Python API: the same bits and errors as the command line, and objects in place of names."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import medscore as ms
from medscore.conditioners import DDS, DPS, DiffPIR
from medscore.conditioners.guidance import EnergyGuidance
from medscore.engine.loop import StepInfo
from medscore.measurements.measurement import Measurement
from medscore.priors.preconditioning import denoiser, ratio
from medscore.samplers import DDIM, Heun
from medscore.sdes import VE, VP

Command = Callable[..., Any]
FEW = {"steps": 3, "device": "cpu"}


def values(folder: Path) -> np.ndarray:
    """The reconstruction in a folder, (slices, H, W)."""
    return np.asarray(nib.load(folder / "recon.nii.gz").get_fdata()).transpose(2, 1, 0)


@pytest.fixture(scope="session")
def m(noisy: Path) -> Measurement:
    return ms.read_measurement(str(noisy))


def test_simulate_and_the_command_give_the_same_bits(scan: Path, noisy: Path) -> None:
    image = ms.load_image(str(scan))
    made = ms.simulate(image, "sparse-ct", views=9, noise="gaussian:0.02")
    read = ms.read_measurement(noisy)
    assert np.array_equal(made.data, read.data)
    assert np.array_equal(made.affine, read.affine)


def test_reconstruct_and_the_command_give_the_same_bits(
    done: Command, noisy: Path, prior: Path, tmp_path: Path
) -> None:
    found = ms.reconstruct(str(noisy), str(prior), samples=2, seed=3, **FEW)
    done("recon", noisy, "--prior", prior, "--samples", 2, "--seed", 3, "--steps", 3,
         "--device", "cpu", "-o", tmp_path / "command")  # fmt: skip
    assert np.array_equal(values(tmp_path / "command"), found.mean)
    ms.save(found, str(tmp_path / "saved"))
    for name in ("recon.nii.gz", "std.nii.gz", "samples/000.nii.gz", "samples/001.nii.gz"):
        ours, theirs = (nib.load(tmp_path / f / name).get_fdata() for f in ("saved", "command"))
        assert np.array_equal(ours, theirs), name
    records = [json.loads((tmp_path / f / "provenance.json").read_text()) for f in
               ("saved", "command")]  # fmt: skip
    for record in records:
        for changing in ("seconds", "measurement_sha256"):
            record.pop(changing, None)
    records[0]["settings"]["prior"] = records[1]["settings"]["prior"]
    assert records[0] == records[1]


def test_a_baseline_and_the_command_give_the_same_bits(
    done: Command, noisy: Path, tmp_path: Path
) -> None:
    found = ms.reconstruct(noisy, method="fista-tv", parameters={"weight": 1e-3, "iterations": 20})
    done("recon", noisy, "--baseline", "fista-tv", "--set", "weight=1e-3", "--set", "iterations=20",
         "-o", tmp_path / "out")  # fmt: skip
    assert np.array_equal(values(tmp_path / "out"), found.mean)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "preview.png", "provenance.json", "recon.nii.gz",
    ]  # fmt: skip
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["method"] == "fista-tv"
    assert record["settings"]["weight"] == 1e-3
    assert record["nfe_per_sample"] == 0


def test_sample_and_the_command_give_the_same_bits(
    done: Command, prior: Path, tmp_path: Path
) -> None:
    found = ms.sample(prior, 3, sampler="ddim", parameters={"sampler.eta": 0.5}, steps=3, seed=5)
    done("generate", "--prior", prior, "-n", 3, "--steps", 3, "--sampler", "ddim", "--set",
         "sampler.eta=0.5", "--seed", 5, "--device", "cpu", "-o", tmp_path / "out")  # fmt: skip
    hu = np.load(tmp_path / "out" / "samples.npz")["hu"]
    np.testing.assert_allclose(hu, 2500 * found.x[:, 0].numpy() - 1000, atol=1e-2)
    assert found.nfe == 4


def test_quality_is_that_of_the_command(
    done: Command, noisy: Path, scan: Path, tmp_path: Path
) -> None:
    done("recon", noisy, "--baseline", "fbp", "--reference", scan, "-o", tmp_path / "out")
    found = ms.quality(ms.reconstruct(noisy, method="fbp"), ms.load_image(scan))
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["FBP", "fbp"]
    for row in rows:
        assert row["psnr"] == pytest.approx(found.psnr, rel=1e-6)
        assert row["ssim"] == pytest.approx(found.ssim, rel=1e-6)


def test_the_recorded_noise_is_heeded(m: Measurement, prior: Path) -> None:
    assert m.noise == "estimate:uniform+gaussian:0.02"
    recorded, same, none = (
        ms.reconstruct(m, prior, noise=noise, **FEW).mean for noise in (None, m.noise, "none")
    )
    assert np.array_equal(recorded, same)
    assert not np.allclose(recorded, none, atol=1)
    number, model = (
        ms.reconstruct(m, prior, noise=noise, **FEW).mean for noise in (0.02, "gaussian:0.02")
    )
    np.testing.assert_allclose(number, model, atol=1e-2)
    assert not np.allclose(recorded, model, atol=1)


@pytest.mark.parametrize(
    "given",
    [
        DPS,
        DPS.with_settings(zeta=0.5),
        partial(DPS, zeta=0.5),
        lambda operator, y: DPS(operator, y, 0.5),
        "dps",
    ],
    ids=["class", "with_settings", "partial", "function", "name"],
)
def test_a_conditioner_may_be_given_in_any_form(m: Measurement, prior: Path, given: Any) -> None:
    expected = ms.reconstruct(m, prior, conditioner="dps", parameters=["conditioner.zeta=0.5"],
                              **FEW)  # fmt: skip
    assert np.array_equal(ms.reconstruct(m, prior, conditioner=given, **FEW).mean, expected.mean)


def test_objects_equal_names(m: Measurement, prior: Path) -> None:
    named = ms.reconstruct(m, prior, sampler="ddim", conditioner="diffpir", grid="uniform",
                           parameters={"sampler.eta": 0.3, "conditioner.zeta": 0.4},
                           **FEW)  # fmt: skip
    objects = ms.reconstruct(
        m, ms.load_prior(str(prior)), sampler=DDIM(0.3),
        conditioner=DiffPIR.with_settings(zeta=0.4),
        grid=lambda sde, steps: torch.linspace(1.0, sde.eps, steps + 1), **FEW,
    )  # fmt: skip
    assert np.array_equal(named.mean, objects.mean)
    assert json.dumps(objects.record)
    assert "DDIM(eta=0.3)" in json.dumps(objects.record)


def test_every_parameter_changes_the_result(m: Measurement, prior: Path) -> None:
    plain = ms.reconstruct(m, prior, **FEW).mean
    for text in ("conditioner.zeta=0.3", "conditioner.trust=0.1", "sampler.eta=1", "grid.high=9"):
        assert not np.array_equal(ms.reconstruct(m, prior, parameters=[text], **FEW).mean, plain)


class Flat(ms.Prior):
    """Every pixel is 0.3 with a standard deviation of 0.3."""

    sde = VP()
    domain = ms.ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        a, s = (f(t)[:, None, None, None] for f in (self.sde.alpha, self.sde.sigma))
        return 0.3 + a * 0.09 / (a**2 * 0.09 + s**2) * (x - a * 0.3)


def test_an_own_prior_reconstructs(m: Measurement) -> None:
    found = ms.reconstruct(m, Flat(), steps=10)
    assert np.isfinite(found.samples).all()
    assert found.residual.max() < 0.5
    assert found.record["prior"]["name"] == "custom prior"


def test_an_own_prior_without_a_domain_is_refused(m: Measurement) -> None:
    class Nothing(Flat):
        domain = None

    with pytest.raises(ms.MedscoreError, match="has no image domain - set its"):
        ms.reconstruct(m, Nothing(), steps=2)


class Shrink(nn.Module):
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x / (1 + sigma[:, None, None, None] ** 2)


def test_an_own_network_reconstructs_and_must_return_a_tensor(m: Measurement) -> None:
    options = {"preconditioning": denoiser, "condition": ratio}
    prior = ms.NetworkPrior(Shrink(), VE(), Flat.domain, **options)  # type: ignore[arg-type]
    assert np.isfinite(ms.reconstruct(m, prior, steps=3).mean).all()

    class Wrong(Shrink):
        def forward(self, x: Tensor, sigma: Tensor) -> Any:
            return [x]

    wrong = ms.NetworkPrior(Wrong(), VE(), Flat.domain, **options)  # type: ignore[arg-type]
    with pytest.raises(ms.MedscoreError, match="the network returned list"):
        ms.reconstruct(m, wrong, steps=2)


def test_an_own_operator_reconstructs(m: Measurement, scan: Path, prior: Path) -> None:
    image = torch.from_numpy(ms.load_image(scan).values)[:, None]
    keep = (torch.arange(32) % 2 == 0)[:, None].float()
    operator = ms.LinearOperator(lambda x: keep * x, lambda y: keep * y, (1, 32, 32))
    own = ms.make_measurement(operator(image), operator, image_unit="HU", spacing_mm=3.0)
    found = ms.reconstruct(own, prior, conditioner=DDS, steps=3)
    shown = (keep.bool() & torch.ones(32, dtype=torch.bool)).numpy()
    assert np.abs(found.mean - image[:, 0].numpy())[:, shown].max() < 5  # HU


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"steps": 0}, r"`steps` is 0 - use 1 to 100000"),
        ({"samples": 0}, "`samples` is 0"),
        ({"seed": -1}, "`seed` is -1"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"precision": "int4"}, "`precision` is 'int4'"),
        ({"device": "tpu"}, "`device` tpu is not available"),
        ({"noise": "hiss"}, "`noise` is 'hiss'"),
        ({"noise": -1.0}, "`noise` has negative or non-finite values"),
        ({"sampler": "magic"}, "no sampler 'magic' - use one of"),
        ({"conditioner": "magic"}, "no conditioner 'magic'"),
        ({"grid": "magic"}, "no grid 'magic'"),
        ({"method": "magic"}, "no baseline 'magic'"),
        ({"method": "fbp", "steps": 3}, "`steps` does not apply to the baseline fbp"),
        ({"parameters": {"conditioner.eta": 1}}, "conditioner diffpir has no parameter 'eta'"),
        ({"parameters": {"conditioner.zeta": 2}}, r"zeta is 2 - use a number in \[0, 1\]"),
        ({"parameters": {"zeta": 0.3}}, "no parameter 'zeta' - begin the name with"),
        ({"parameters": ["conditioner.zeta"]}, "use NAME=VALUE"),
        ({"parameters": {"grid.high": 0.001}}, "`high` is 0.001, it must be greater than `low`"),
        ({"preset": "magic"}, "no preset 'magic'"),
        ({"prior": "magic"}, "no prior 'magic'"),
        ({"conditioner": lambda y: None}, "has no parameter operator"),
        ({"conditioner": "ddrm"}, "conditioner ddrm: DDRM needs an orthogonal T"),
        ({"conditioner": lambda operator, y: 3}, "returned 3 - return a Conditioner"),
        ({"noise": torch.ones(5)}, r"`noise` has shape \(5,\), but the measurements"),
        ({"noise": torch.ones(3, 1, 1, 1)}, r"`noise` has shape \(3, 1, 1, 1\)"),
        ({"method": "fista-tv", "noise": torch.ones(5)}, r"`noise` has shape \(5,\)"),
        ({"method": "fista-tv", "noise": -1.0}, "`noise` has negative or non-finite values"),
        ({"method": "fbp", "preset": "thesis"}, "`preset` does not apply to the baseline fbp"),
        ({"method": "fbp", "precision": "bf16"}, "`precision` does not apply"),
        ({"method": "fbp", "device": "cuda"}, "`device` does not apply"),
        ({"method": "fbp", "seed": -1}, "`seed` is -1"),
        (
            {"conditioner": DPS, "parameters": {"conditioner.zeta": 0.1}},
            "`parameters` has conditioner.zeta, but `conditioner` is an object",
        ),
        (
            {"sampler": DDIM(), "parameters": ["sampler.eta=1"]},
            "`parameters` has sampler.eta, but `sampler` is an object",
        ),
    ],
)
def test_bad_input_is_refused_in_the_words_of_the_parameter(
    m: Measurement, prior: Path, options: dict[str, Any], why: str
) -> None:
    given = {"prior": prior if "method" not in options else None, "steps": 2, **options}
    if "method" in options and "steps" not in options:
        del given["steps"]
    with pytest.raises(ms.MedscoreError, match=why) as caught:
        ms.reconstruct(m, **given)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


WRONG_TYPES = [
    ({"conditioner": 3}, "3 is not a conditioner"),
    ({"sampler": 3}, "`sampler` is 3"),
    ({"grid": 3}, "`grid` is 3"),
    ({"method": 3}, "`method` is 3"),
    ({"prior": 3}, "`prior` is 3, not a Prior"),
    ({"prior": nn.Identity()}, r"`prior` is Identity\(\), not a Prior"),
    ({"prior": ms.NetworkPrior}, "not a Prior"),
    ({"steps": "3"}, "`steps` is '3' - use a whole number"),
    ({"steps": 2.5}, "`steps` is 2.5 - use a whole number"),
    ({"steps": True}, "`steps` is True - use a whole number"),
    ({"samples": 1.5}, "`samples` is 1.5"),
    ({"seed": "a"}, "`seed` is 'a'"),
    ({"batch_size": None}, "`batch_size` is None"),
    ({"device": 1.5}, "`device` 1.5 is not available"),
    ({"noise": [1.0, "a"]}, "`noise` is"),
    ({"noise": 1j}, "`noise` is 1j"),
    ({"parameters": 3}, "`parameters` is 3"),
    ({"parameters": "conditioner.zeta=1"}, "`parameters` is 'conditioner.zeta=1'"),
    ({"parameters": {3: 1}}, "`parameters` is {3: 1}"),
]


@pytest.mark.skipif("MEDSCORE_SHAPES" in os.environ, reason="types are checked at run time")
@pytest.mark.parametrize(("options", "why"), WRONG_TYPES)
def test_values_of_the_wrong_type_are_refused(
    m: Measurement, prior: Path, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ms.MedscoreError, match=why):
        ms.reconstruct(m, **{"prior": prior if "method" not in options else None, **options})


def test_a_noise_of_zero_is_none_for_every_method(m: Measurement, prior: Path) -> None:
    for options in (
        {"method": "fista-tv", "parameters": {"iterations": 3}},
        {"prior": prior, "steps": 2},
    ):
        images = [ms.reconstruct(m, noise=noise, **options).mean for noise in (0.0, "none")]
        assert np.array_equal(*images)


def test_an_interrupted_run_resumes_with_the_same_parts_only(
    m: Measurement, tmp_path: Path
) -> None:
    class Constant(ms.Prior):
        sde = VE(sigma_max=10.0)
        domain = ms.ImageDomain(modality="CT", quantity="HU", low=-1000, high=1500)

        def __init__(self, value: float) -> None:
            self.value = value

        def denoise(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.full_like(x, self.value)

    def run(value: float, **changed: Any) -> ms.Reconstruction:
        options = {
            "steps": 2,
            "samples": 2,
            "batch_size": 1,
            "state": tmp_path / "state",
            **changed,
        }
        return ms.reconstruct(m, Constant(value), **options)

    def stop(info: StepInfo) -> None:
        if info.done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(0.2, on_step=stop)
    with pytest.raises(ms.MedscoreError, match="other settings"):
        run(0.3)
    with pytest.raises(ms.MedscoreError, match="other settings"):
        run(0.2, conditioner=DPS.with_settings(zeta=0.5))
    resumed = run(0.2)
    assert np.array_equal(resumed.samples, run(0.2).samples)


def test_a_class_of_samplers_is_its_default_object(m: Measurement, prior: Path) -> None:
    images = [ms.reconstruct(m, prior, sampler=s, **FEW).mean for s in (DDIM, DDIM(), "ddim")]
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[2])


def test_a_bound_conditioner_is_refused_and_guidance_is_not(m: Measurement, prior: Path) -> None:
    bound = DPS(m.operator, torch.from_numpy(m.data))
    with pytest.raises(ms.MedscoreError, match=r"already bound .* DPS.with_settings"):
        ms.reconstruct(m, prior, conditioner=bound, **FEW)
    free = EnergyGuidance(lambda x, t: x.flatten(1).square().mean(1), weight=1e-3)
    assert np.isfinite(ms.reconstruct(m, prior, conditioner=free, **FEW).mean).all()


def test_a_prior_that_does_not_fit_is_refused(m: Measurement, mr_prior: Path) -> None:
    with pytest.raises(ms.MedscoreError, match=r"modality is CT, prior .* has MR"):
        ms.reconstruct(m, mr_prior, **FEW)


def test_an_unknown_setting_of_a_conditioner_is_refused_at_once(m: Measurement) -> None:
    with pytest.raises(ms.MedscoreError, match="DPS has no setting eta - it has zeta"):
        DPS.with_settings(eta=1)
    with pytest.raises(ms.MedscoreError, match=r"`zeta` is 2 - use a number in \[0, 1\]"):
        DiffPIR(m.operator, torch.from_numpy(m.data), zeta=2.0)


def test_samplers_prepare_for_the_grid_themselves(m: Measurement, prior: Path) -> None:
    named = ms.reconstruct(m, prior, sampler="heun", **FEW)
    assert np.array_equal(ms.reconstruct(m, prior, sampler=Heun(), **FEW).mean, named.mean)


def test_shipped_priors_are_listed_and_loaded_by_name() -> None:
    found = ms.list_priors()
    assert {"ct-128", "mri-128"} <= set(found)
    assert found["ct-128"].modality == "CT"
    loaded = ms.load_prior("ct-128")
    assert loaded.domain == found["ct-128"]
    assert loaded.sha256


def test_quality_refuses_what_cannot_be_compared() -> None:
    image = np.zeros((1, 32, 32), np.float32)
    with pytest.raises(ms.MedscoreError, match=r"`image` has shape \(1, 32, 32\), `reference`"):
        ms.quality(image, np.zeros((2, 32, 32), np.float32))
    with pytest.raises(ms.MedscoreError, match="`convention` 'magic' - use one of: ct"):
        ms.quality(image, image + 1, "magic")


@pytest.mark.skipif("MEDSCORE_SHAPES" in os.environ, reason="types are checked at run time")
def test_bad_arguments_of_save_are_refused_before_anything_is_written(
    m: Measurement, tmp_path: Path
) -> None:
    found = ms.reconstruct(m, method="fbp")
    out = tmp_path / "out"
    for arguments, options, why in [
        ((m, out), {}, "`result` is"),
        ((found, None), {}, "`folder` is None"),
        ((found, out), {"window": (5, 1)}, r"`window` is \(5, 1\)"),
        ((found, out), {"window": "x"}, "`window` is 'x'"),
        ((found, out), {"reference": 3j}, "`reference` is 3j"),
        ((found, out), {"reference": np.zeros((1, 5, 5))}, r"`reference` has shape \(1, 5, 5\)"),
    ]:
        with pytest.raises(ms.MedscoreError, match=why):
            ms.save(*arguments, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_grid_is_a_tensor_of_decreasing_times(m: Measurement, prior: Path) -> None:
    for grid in (lambda sde, n: [1.0, 0.5], lambda sde, n: torch.linspace(0.1, 1, n + 1)):
        with pytest.raises(ms.MedscoreError, match="`grid` returned"):
            ms.reconstruct(m, prior, grid=grid)
