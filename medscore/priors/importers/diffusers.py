"""Checkpoints of diffusers' UNet2DModel and DDPM schedulers, as written by ``save_pretrained``.

The time step n = 0 ... N - 1 of diffusers is the scale i = n + 1 of Eq. B.11 and the level n in
medscore, and ``beta_start`` is beta_min / N:

.. math:: \\bar\\alpha_n = \\prod_{j \\le n} (1 - \\beta_j) = \\alpha((n + 1)/N)^2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medscore.errors import MedscoreError
from medscore.io.specs import faults
from medscore.nets.diffusers_unet import DiffusersUNetSpec
from medscore.priors.contract import DDPMSpec, PredictionSpec
from medscore.priors.importers.contract import ImportContract, ImportedNetwork, fitted
from medscore.priors.importers.read import (
    Source,
    first_names,
    read_content,
    read_settings,
    state_dict,
)

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler")
"""Schedulers with the same definition of the betas and of the prediction."""

TARGETS = {"epsilon": "noise", "v_prediction": "velocity", "sample": "clean"}
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
UNCONDITIONAL = {
    "class_embed_type": None,
    "num_class_embeds": None,
    "time_embedding_type": "positional",
}
"""Keys of the configuration that can be imported with these values only."""

INERT = ("dropout", "num_train_timesteps")
"""Keys that a trained network with positional embedding does not depend on."""


def open_folder(path: Path) -> Source:
    """Read a folder of weights and ``config.json``, or a pipeline of ``unet`` and ``scheduler``.

    Args:
        path: the folder.

    Raises:
        MedscoreError: it is not such a folder, or the pipeline has further parts.
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
            f"the pipeline has further parts: {first_names(others)}",
            where=path,
            hint="latent diffusion and text-conditional pipelines cannot be imported",
        )
    root = path / "unet" if (path / "unet" / "config.json").is_file() else path
    for name in ("config.json", WEIGHTS):
        names = (name,) if isinstance(name, str) else name
        if not any((root / one).is_file() for one in names):
            raise MedscoreError(
                f"no {' or '.join(names)}",
                where=root,
                hint="give a folder written by save_pretrained(), with the weights in one file",
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
    """True if a checkpoint holds such a network.

    Args:
        source: the checkpoint.
    """
    try:
        return {"conv_in.weight", "time_embedding.linear_1.weight"} <= state_dict(source).keys()
    except MedscoreError:
        return False


def map_checkpoint(source: Source, contract: ImportContract) -> ImportedNetwork:
    """The network and its weights and, from the scheduler, SDE and prediction.

    Args:
        source: the checkpoint.
        contract: the user's contract, not used.

    Raises:
        MedscoreError: the class of the network or one of its options is not supported, or the
            weights do not fit.
    """
    if source.config is None:
        raise MedscoreError(
            "the weights do not define the network",
            where=source.path,
            hint="give its config.json as `config`, or the folder that holds both",
        )
    spec = network(source.config)
    old = re.compile(rf"(attentions\.\d+)\.({'|'.join(OLD_NAMES)})\.")
    weights = {
        old.sub(lambda match: f"{match[1]}.{OLD_NAMES[match[2]]}.", name): value
        for name, value in state_dict(source).items()
    }
    named = fitted(spec, weights, source.path, prefix="body.")
    if source.scheduler is None:
        return ImportedNetwork(spec, named)
    sde, prediction = noise_schedule(source.scheduler)
    return ImportedNetwork(spec, named, sde, prediction)


def network(config: Mapping[str, Any]) -> DiffusersUNetSpec:
    """The specification of the network in a ``config.json``.

    Args:
        config: content of the file.

    Raises:
        MedscoreError: the class of the network or one of its options is not supported.
    """
    where = "config.json"
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise MedscoreError(
            f"the network is a {kind}",
            where=where,
            hint="only the unconditional UNet2DModel can be imported",
        )
    options = {k: v for k, v in config.items() if not k.startswith("_") and k not in INERT}
    for key, only in UNCONDITIONAL.items():
        if (value := options.pop(key, only)) != only:
            raise MedscoreError(
                f"{key} is {value!r}", where=where, hint=f"only {only!r} can be imported"
            )
    into, out = options.pop("in_channels", 3), options.pop("out_channels", 3)
    if into != out:
        raise MedscoreError(
            f"the network has {into} input and {out} output channels",
            where=where,
            hint="networks with extra inputs or a learned variance cannot be imported",
        )
    side = options.get("sample_size")
    if isinstance(side, list) and len(set(side)) == 1:
        options["sample_size"] = side[0]
    try:
        return DiffusersUNetSpec.model_validate({**options, "image_channels": into})
    except ValidationError as error:
        raise MedscoreError(
            faults(error), where=where, hint="such a network cannot be imported"
        ) from None


def noise_schedule(scheduler: Mapping[str, Any]) -> tuple[DDPMSpec, PredictionSpec]:
    """The SDE and the prediction of a ``scheduler_config.json``.

    Args:
        scheduler: content of the file.

    Raises:
        MedscoreError: the class of the scheduler is not supported, or its noise schedule is not
            linear in beta.
    """
    where = "scheduler_config.json"
    kind, schedule = scheduler.get("_class_name"), scheduler.get("beta_schedule")
    predicted = scheduler.get("prediction_type", "epsilon")  # old files lack it
    checks = (
        (kind not in SCHEDULERS, f"the scheduler is a {kind}", ", ".join(SCHEDULERS)),
        (schedule != "linear", f"beta_schedule is {schedule!r}", "'linear'"),
        (scheduler.get("trained_betas") is not None, "trained_betas are set", "linear betas"),
        (
            bool(scheduler.get("rescale_betas_zero_snr")),
            "rescale_betas_zero_snr is set: the last step has no signal",
            "schedules without it",
        ),
        (predicted not in TARGETS, f"prediction_type is {predicted!r}", ", ".join(TARGETS)),
        (scheduler.get("predict_epsilon") is False, "predict_epsilon is false", "prediction_type"),
    )
    for wrong, what, only in checks:
        if wrong:
            raise MedscoreError(what, where=where, hint=f"only {only} can be imported")
    try:
        scales = scheduler["num_train_timesteps"]
        ends = (scheduler["beta_start"], scheduler["beta_end"])
        beta_min, beta_max = (float(f"{scales * beta:.12g}") for beta in ends)
        sde = DDPMSpec(scales=scales, beta_min=beta_min, beta_max=beta_max)
    except KeyError as error:
        raise MedscoreError(f"no {error.args[0]}", where=where, hint="add it") from None
    except (TypeError, ValueError) as error:
        reason = faults(error) if isinstance(error, ValidationError) else str(error)
        raise MedscoreError(reason, where=where, hint="correct the betas") from None
    return sde, PredictionSpec.model_validate(
        {"target": TARGETS[predicted], "condition": "level", "levels": scales}
    )
