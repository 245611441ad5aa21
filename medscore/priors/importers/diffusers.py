"""Checkpoints of diffusers' UNet2DModel and its DDPM schedulers, as ``save_pretrained`` wrote them.

Their time step n = 0 ... N - 1 is the scale i = n + 1 of Eq. B.11, here the level n, and
``beta_start`` is its beta_min / N:

.. math:: \\bar\\alpha_n = \\prod_{j \\le n} (1 - \\beta_j) = \\alpha((n + 1)/N)^2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medscore.errors import MedscoreError
from medscore.io.specs import first_fault
from medscore.nets.diffusers_unet import DiffusersUNetSpec
from medscore.priors.contract import DDPMSpec, PredictionSpec
from medscore.priors.importers.contract import ImportContract, Mapped, fitted
from medscore.priors.importers.read import Source, read_content, read_settings, some, state_dict

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler")
"""Those that share the meaning of the betas and of the prediction."""

TARGETS = {"epsilon": "noise", "v_prediction": "velocity", "sample": "clean"}
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
UNCONDITIONAL = {
    "class_embed_type": None,
    "num_class_embeds": None,
    "time_embedding_type": "positional",
}
"""Keys of the configuration that can be mapped at these values alone."""

INERT = ("dropout", "num_train_timesteps")
"""Keys that a trained network with positional embedding does not depend on."""


def open_folder(path: Path) -> Source:
    """A folder of weights and ``config.json``, or one above it with ``unet`` and ``scheduler``.

    Raises:
        MedscoreError: it is not such a folder, or the pipeline has more parts than these two.
    """
    index = path / "model_index.json"
    parts = read_settings(index) if index.is_file() else {}
    others = [
        name
        for name, value in parts.items()
        if name not in ("unet", "scheduler") and isinstance(value, list) and any(value)
    ]
    if others:
        raise MedscoreError(
            f"the pipeline has more parts: {some(others)}",
            where=path,
            hint="latent diffusion and pipelines conditional on text cannot be mapped",
        )
    root = path / "unet" if (path / "unet" / "config.json").is_file() else path
    for name in ("config.json", WEIGHTS):
        names = (name,) if isinstance(name, str) else name
        if not any((root / one).is_file() for one in names):
            raise MedscoreError(
                f"no {' or '.join(names)}",
                where=root,
                hint="give the folder that save_pretrained() wrote, weights in one file",
            )
    weights = next(root / name for name in WEIGHTS if (root / name).is_file())
    beside = path.parent if path.name == "unet" else path
    scheduler = beside / "scheduler" / "scheduler_config.json"
    return Source(
        path=weights,
        content=read_content(weights),
        config=read_settings(root / "config.json"),
        scheduler=read_settings(scheduler) if scheduler.is_file() else None,
    )


def recognises(source: Source) -> bool:
    """Whether the file holds such a network."""
    try:
        return {"conv_in.weight", "time_embedding.linear_1.weight"} <= state_dict(source).keys()
    except MedscoreError:
        return False


def mapped(source: Source, asked: ImportContract) -> Mapped:
    """The network, its weights, and what the scheduler says.

    Raises:
        MedscoreError: another class of network, an option that cannot be mapped, or weights that
            do not fit.
    """
    if source.config is None:
        raise MedscoreError(
            "the weights do not show what network they are of",
            where=source.path,
            hint="give its config.json by --config, or the folder with both",
        )
    spec = network(source.config)
    old = re.compile(rf"(attentions\.\d+)\.({'|'.join(OLD_NAMES)})\.")
    weights = {
        old.sub(lambda match: f"{match[1]}.{OLD_NAMES[match[2]]}.", name): value
        for name, value in state_dict(source).items()
    }
    taken = fitted(spec, weights, source.path, prefix="body.")
    if source.scheduler is None:
        return Mapped(spec, taken)
    sde, prediction = noise(source.scheduler)
    return Mapped(spec, taken, sde, prediction)


def network(config: Mapping[str, Any]) -> DiffusersUNetSpec:
    """The specification of a ``config.json``.

    Raises:
        MedscoreError: another class, or an option that cannot be mapped.
    """
    where = "config.json"
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise MedscoreError(
            f"a {kind}", where=where, hint="only the unconditional UNet2DModel can be mapped"
        )
    said = {k: v for k, v in config.items() if not k.startswith("_") and k not in INERT}
    for key, only in UNCONDITIONAL.items():
        if (value := said.pop(key, only)) != only:
            raise MedscoreError(
                f"{key} is {value!r}", where=where, hint=f"only {only!r} can be mapped"
            )
    into, out = said.pop("in_channels", 3), said.pop("out_channels", 3)
    if into != out:
        raise MedscoreError(
            f"the network takes {into} channels and gives {out}",
            where=where,
            hint="networks with extra inputs or a learned variance cannot be mapped",
        )
    side = said.get("sample_size")
    if isinstance(side, list) and len(set(side)) == 1:
        said["sample_size"] = side[0]
    try:
        return DiffusersUNetSpec.model_validate({**said, "image_channels": into})
    except ValidationError as error:
        raise MedscoreError(
            first_fault(error), where=where, hint="such a network cannot be mapped"
        ) from None


def noise(scheduler: Mapping[str, Any]) -> tuple[DDPMSpec, PredictionSpec]:
    """The SDE and the prediction of a ``scheduler_config.json``.

    Raises:
        MedscoreError: another class, or a noise schedule that is not linear in beta.
    """
    where = "scheduler_config.json"
    kind, schedule = scheduler.get("_class_name"), scheduler.get("beta_schedule")
    predicted = scheduler.get("prediction_type", "epsilon")  # old files lack it
    faults = (
        (kind not in SCHEDULERS, f"a {kind}", f"one of {', '.join(SCHEDULERS)}"),
        (schedule != "linear", f"beta_schedule is {schedule!r}", "'linear'"),
        (scheduler.get("trained_betas") is not None, "betas of its own", "linear betas"),
        (
            bool(scheduler.get("rescale_betas_zero_snr")),
            "rescale_betas_zero_snr: its last step has no signal",
            "betas without that",
        ),
        (predicted not in TARGETS, f"prediction_type is {predicted!r}", ", ".join(TARGETS)),
        (scheduler.get("predict_epsilon") is False, "predict_epsilon is false", "prediction_type"),
    )
    for wrong, what, only in faults:
        if wrong:
            raise MedscoreError(what, where=where, hint=f"only {only} can be mapped")
    try:
        scales = scheduler["num_train_timesteps"]
        ends = (scheduler["beta_start"], scheduler["beta_end"])
        beta_min, beta_max = (float(f"{scales * beta:.12g}") for beta in ends)
        sde = DDPMSpec(scales=scales, beta_min=beta_min, beta_max=beta_max)
    except KeyError as error:
        raise MedscoreError(f"no {error.args[0]}", where=where, hint="add it") from None
    except (TypeError, ValueError) as error:
        reason = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise MedscoreError(reason, where=where, hint="correct the betas") from None
    return sde, PredictionSpec.model_validate(
        {"target": TARGETS[predicted], "condition": "level", "levels": scales}
    )
