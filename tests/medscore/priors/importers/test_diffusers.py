"""Checkpoints of diffusers: network, noise levels, predictions and steps are the library's."""

import inspect
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import (
    CONTRACT,
    DIFFUSERS,
    contract_file,
    diffusers_folder,
    diffusers_network,
    rounded,
)
from safetensors.torch import load_file, save_file

from medscore.engine.job import Batch, Job
from medscore.engine.loop import run
from medscore.errors import MedscoreError
from medscore.nets.diffusers_unet import DiffusersUNetSpec
from medscore.priors.checkpoint import load_prior, save_prior
from medscore.priors.contract import DDPMSpec, PredictionSpec
from medscore.priors.importers import diffusers as importer
from medscore.priors.importers.contract import (
    ImportContract,
    ImportedNetwork,
    assemble,
    read_contract,
)
from medscore.priors.importers.read import Source
from medscore.priors.network import NetworkPrior
from medscore.samplers.ddim import DDIM
from medscore.white_noise import Noise

pytestmark = pytest.mark.skipif(find_spec("diffusers") is None, reason="needs diffusers")
USER = ImportContract.model_validate(CONTRACT)
STEPS = torch.arange(1000)
TIMES = (STEPS + 1).double() / 1000
SCHEDULER = {
    "_class_name": "DDPMScheduler", "beta_schedule": "linear", "beta_start": 1e-4,
    "beta_end": 0.02, "num_train_timesteps": 1000, "prediction_type": "epsilon",
}  # fmt: skip
CONFIG: dict[str, Any] = json.loads(json.dumps({"_class_name": "UNet2DModel", **DIFFUSERS}))


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def loaded(folder: Path) -> tuple[ImportedNetwork, NetworkPrior]:
    """The network in a folder, and the prior that is made of it, saved and loaded."""
    source, path = importer.open_folder(folder), contract_file(folder / "c.yaml")
    imported = importer.map_checkpoint(source, USER)
    contract = assemble(read_contract(path), imported, source, path)
    save_prior(folder / "p.safetensors", contract, imported.weights)
    return imported, load_prior(folder / "p.safetensors")


@pytest.mark.slow
def test_the_imported_network_is_the_librarys_exactly(tmp_path: Path) -> None:
    theirs, _ = diffusers_folder(tmp_path)
    imported, prior = loaded(tmp_path)
    network = imported.network.build().eval().requires_grad_(False)
    network.load_state_dict(imported.weights)
    x, steps = images(3), torch.tensor([0, 400, 999])
    expected = theirs(x, steps).sample
    assert expected.std() > 1e-2
    assert torch.equal(network(x, steps.float()), expected)
    assert torch.equal(prior.network(x, steps.float()), rounded(theirs)(x, steps).sample)
    count = sum(p.numel() for p in theirs.parameters())
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(("start", "end"), [(1e-4, 0.02), (1.5e-3, 0.0195)])
def test_the_noise_levels_are_the_schedulers(start: float, end: float) -> None:
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_start=start, beta_end=end)
    spec, _ = importer.noise_schedule({**theirs.config, "_class_name": "DDPMScheduler"})
    sde = spec.build()
    torch.testing.assert_close(
        sde.alpha(TIMES) ** 2, theirs.alphas_cumprod.double(), rtol=2e-5, atol=0
    )
    betas = torch.linspace(start, end, 1000, dtype=torch.float64)
    torch.testing.assert_close(
        sde.alpha(TIMES) ** 2, torch.cumprod(1 - betas, 0), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_condition_is_the_integers_from_0_to_999(dtype: torch.dtype) -> None:
    sde, told = (part for part in importer.noise_schedule(SCHEDULER))
    assert torch.equal(told.time_variable()(sde.build(), TIMES.to(dtype)), STEPS.to(dtype))


@pytest.mark.slow
def test_the_score_is_minus_the_noise_over_sigma_at_every_step(tmp_path: Path) -> None:
    diffusers_folder(tmp_path)
    prior = loaded(tmp_path)[1].double()
    x = images(1000).double()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    sigma = (1 - torch.cumprod(1 - betas, 0)).sqrt()[:, None, None, None]
    noise = prior.network.body(x, STEPS).sample
    torch.testing.assert_close(prior.score(x, TIMES), -noise / sigma, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_the_denoiser_is_the_schedulers_for_each_prediction(
    tmp_path: Path, prediction_type: str
) -> None:
    theirs, scheduler = diffusers_folder(tmp_path, prediction_type=prediction_type)
    prior, theirs = loaded(tmp_path)[1].double(), rounded(theirs).double()
    for n in (0, 1, 500, 999):
        x = images(2).double()
        predicted = theirs(x, torch.tensor(n)).sample
        clean = scheduler.step(predicted, n, x).pred_original_sample
        t = torch.full((2,), (n + 1) / 1000, dtype=x.dtype)
        # the scheduler's betas are in single precision
        torch.testing.assert_close(prior.denoise(x, t), clean, rtol=1e-4, atol=1e-5)


def test_four_ddim_steps_through_the_engine_are_the_librarys(tmp_path: Path) -> None:
    from diffusers import DDIMScheduler

    theirs, _ = diffusers_folder(tmp_path, prediction_type="sample")
    _, prior = loaded(tmp_path)
    times = torch.tensor([1000, 750, 500, 250, 1]) / 1000
    job = Job(
        seeds=(3, 4), shape=(1, 8, 8), times=times, denoise=False,
        batches=lambda items: Batch(prior, DDIM()),
    )  # fmt: skip
    ours = run(job).x
    scheduler = DDIMScheduler(
        prediction_type="sample", clip_sample=False, set_alpha_to_one=False,
        timestep_spacing="trailing",
    )  # fmt: skip
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    x, theirs = Noise((3, 4))(torch.zeros(2, 1, 8, 8)), rounded(theirs)
    for n in scheduler.timesteps:
        x = scheduler.step(theirs(x, n).sample, n, x).prev_sample
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-4)


def test_what_the_configuration_leaves_out_is_the_librarys_default() -> None:
    from diffusers import UNet2DModel

    theirs = inspect.signature(UNet2DModel).parameters
    ours = DiffusersUNetSpec().model_dump()
    for name in ours.keys() - {"kind", "image_channels"}:
        assert ours[name] == theirs[name].default, name
    known = ours.keys() | importer.UNCONDITIONAL.keys() | set(importer.INERT)
    assert theirs.keys() - known == {"in_channels", "out_channels"}


@pytest.mark.parametrize("part", ["unet", "alone", "root"])
def test_the_folder_may_be_the_models_or_the_networks(tmp_path: Path, part: str) -> None:
    diffusers_folder(tmp_path)
    folder = tmp_path if part == "root" else tmp_path / "unet"
    if part == "alone":
        folder = folder.rename(tmp_path / "net")
    imported = importer.map_checkpoint(importer.open_folder(folder), USER)
    assert (imported.sde is None) == (imported.prediction is None) == (part == "alone")


def test_the_attention_of_older_files_is_renamed(tmp_path: Path) -> None:
    diffusers_folder(tmp_path)
    path = tmp_path / "unet" / importer.WEIGHTS[0]
    weights, old = load_file(path), {"query": "to_q", "key": "to_k", "value": "to_v"}
    turned = dict(weights)
    for before, after in (old | {"proj_attn": "to_out.0"}).items():
        turned = {k.replace(f".{after}.", f".{before}."): v for k, v in turned.items()}
    assert turned.keys() != weights.keys()
    expected = importer.map_checkpoint(importer.open_folder(tmp_path), USER).weights
    save_file(turned, path)
    found = importer.map_checkpoint(importer.open_folder(tmp_path), USER).weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "the network is a UNet2DConditionModel"),
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
        ({"num_class_embeds": 10}, "num_class_embeds is 10"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type is 'fourier'"),
        ({"out_channels": 2}, "has 1 input and 2 output channels"),
        ({"down_block_types": ["SkipDownBlock2D"] * 2}, "down_block_types.0: "),
        ({"up_block_types": ["UpBlock2D"]}, "up_block_types must have 2 entries"),
        ({"norm_num_groups": 5}, "must be multiples of norm_num_groups 5"),
        ({"attention_head_dim": 3}, "must be multiples of attention_head_dim 3"),
        ({"addition_embed_type": "text"}, "addition_embed_type: there is no such key"),
        ({"sample_size": [8, 16]}, "sample_size: "),
    ],
)
def test_networks_that_cannot_be_imported_are_refused(changes: dict[str, Any], why: str) -> None:
    assert importer.network(CONFIG).build()
    with pytest.raises(MedscoreError, match=why):
        importer.network(CONFIG | changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"_class_name": "ScoreSdeVeScheduler"}, "the scheduler is a ScoreSdeVeScheduler"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule is 'squaredcos_cap_v2'"),
        ({"beta_schedule": "scaled_linear"}, "beta_schedule is 'scaled_linear'"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas are set"),
        ({"rescale_betas_zero_snr": True}, "the last step has no signal"),
        ({"prediction_type": "flow"}, "prediction_type is 'flow'"),
        ({"predict_epsilon": False}, "predict_epsilon is false"),
        ({"beta_end": 1e-5}, "beta_min < beta_max < scales"),
        ({"beta_start": "small"}, "scheduler_config.json: .* - correct the betas"),
        ({"num_train_timesteps": 1}, "2 scales"),
    ],
)
def test_noise_that_cannot_be_imported_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        importer.noise_schedule(SCHEDULER | changes)


def test_keys_that_old_schedulers_lack() -> None:
    old = {key: value for key, value in SCHEDULER.items() if key != "prediction_type"}
    expected = (DDPMSpec(), PredictionSpec(target="noise", condition="level", levels=1000))
    assert importer.noise_schedule(old) == importer.noise_schedule(SCHEDULER) == expected
    del old["beta_end"]
    with pytest.raises(MedscoreError, match="no beta_end"):
        importer.noise_schedule(old)


@pytest.mark.parametrize(
    ("index", "refused"),
    [
        ({"_class_name": "DDPMPipeline", "unet": ["a", "b"], "scheduler": ["a", "b"]}, False),
        ({"unet": ["a", "b"], "safety_checker": [None, None], "size": 3}, False),
        ({"unet": ["a", "b"], "vqvae": ["diffusers", "VQModel"]}, True),
    ],
)
def test_a_pipeline_with_more_parts_is_refused(
    tmp_path: Path, index: dict[str, Any], refused: bool
) -> None:
    diffusers_folder(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    if refused:
        with pytest.raises(MedscoreError, match="the pipeline has further parts: vqvae"):
            importer.open_folder(tmp_path)
    else:
        importer.open_folder(tmp_path)


@pytest.mark.parametrize("gone", ["config.json", importer.WEIGHTS[0]])
def test_a_folder_that_lacks_a_part_is_refused(tmp_path: Path, gone: str) -> None:
    diffusers_folder(tmp_path)
    (tmp_path / "unet" / gone).unlink()
    with pytest.raises(MedscoreError, match=f"no {gone}"):
        importer.open_folder(tmp_path / "unet")


def test_weights_without_a_configuration_are_refused() -> None:
    source = Source(Path("w.pt"), diffusers_network().state_dict())
    assert importer.recognises(source)
    with pytest.raises(MedscoreError, match=r"give its config\.json"):
        importer.map_checkpoint(source, USER)


def test_weights_of_another_configuration_are_refused() -> None:
    weights = diffusers_network(layers_per_block=2).state_dict()
    with pytest.raises(MedscoreError, match=r"unknown: .*\d+ in all"):
        importer.map_checkpoint(Source(Path("w.pt"), weights, CONFIG), USER)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="not the network's sample_size 8"):
        importer.network(CONFIG).check_size(16)
    with pytest.raises(ValueError, match="must be a multiple of 2"):
        importer.network(CONFIG | {"sample_size": None}).check_size(9)


def test_without_the_library_the_hint_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "diffusers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MedscoreError, match=r'pip install "medscore\[import\]"'):
        importer.network(CONFIG).build()
