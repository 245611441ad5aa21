"""Draw images from a prior: unconditional, of chosen classes, or conditioned on observations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import medscore
from medscore.conditioners.binding import ConditionerFactory
from medscore.engine.items import fingerprint_of, state_path
from medscore.engine.job import Job
from medscore.engine.loop import Samples, StepInfo, run
from medscore.engine.precision import settle
from medscore.engine.resume import resumable
from medscore.errors import MedscoreError
from medscore.generation.gallery import GeneratedImages, with_versions, write_gallery
from medscore.generation.observations import ObservationSettings, observe
from medscore.generation.one_grid import grid_record, known_class, placed
from medscore.generation.requests import Request, choose_classes, conditional, unconditional
from medscore.io.files import atomic_folder, check_absent
from medscore.likelihood.inputs import Files, as_paths
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.contract import DataContract
from medscore.priors.network import NetworkPrior
from medscore.priors.precision import Choice
from medscore.registry.build import build_conditioner, build_grid, build_sampler, times_of
from medscore.registry.checks import check_counts, check_precision, check_ranges, resolve_device
from medscore.registry.methods import CONDITIONERS, GRIDS, SAMPLERS
from medscore.registry.presets import parsed
from medscore.registry.settings import OF_IMAGES, split_parameters

CONDITIONER = "diffpir"
"""The default conditioner for observed images."""


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of the sampling, which together identify an interrupted run.

    Attributes:
        prior: name or path of the prior.
        count: number of images, or of samples per observed image.
        sampler: name of the sampler.
        grid: name of the time grid.
        steps: steps of the time grid.
        parameters: parameters of sampler, grid and conditioner, by dotted name.
        seed: seed of all draws.
        precision: auto, float32 or bf16.
        batch_size: images drawn together.
        label: names of classes, separated by commas; None for any class.
        strength: factor on the classifier's gradient.
        conditioner: name of the conditioner; None without observed images.
        size: rows and columns, of a prior for any matrix.
        spacing: pixel size in mm, of a prior for any matrix.
    """

    prior: str
    count: int
    sampler: str
    grid: str
    steps: int
    parameters: Mapping[str, Any]
    seed: int
    precision: str
    batch_size: int
    label: str | None = None
    strength: float = 1.0
    conditioner: str | None = None
    size: int | None = None
    spacing: float | None = None

    def check(self) -> None:
        """Reject invalid settings.

        Raises:
            MedscoreError: a number is out of range or the precision is unknown.
        """
        check_counts(
            ("count", self.count, 1, 1_000_000),
            ("steps", self.steps, 1, 100_000),
            ("seed", self.seed, 0, 2**63 - 1),
            ("batch_size", self.batch_size, 1, 1_000_000),
        )
        check_ranges(("strength", self.strength, 0, 1000))
        check_precision(self.precision)
        own = split_parameters(self.parameters, OF_IMAGES)
        SAMPLERS.convert(self.sampler, own["sampler"])
        GRIDS.convert(self.grid, own["grid"])
        if self.conditioner is not None:
            CONDITIONERS.convert(self.conditioner, own["conditioner"])
        elif own["conditioner"]:
            raise MedscoreError(
                "parameters of a conditioner apply only with `known`", hint="leave them out"
            )

    def rule(self) -> ConditionerFactory:
        """The factory of conditioners for observed images."""
        assert self.conditioner is not None
        own = split_parameters(self.parameters, OF_IMAGES)["conditioner"]
        return build_conditioner(self.conditioner, own)


def generate(
    prior: str | Path = WHOLE_IMAGE_PRIOR,
    *,
    count: int = 16,
    size: int | None = None,
    spacing: float | None = None,
    sampler: str | None = None,
    steps: int = 50,
    grid: str | None = None,
    parameters: Mapping[str, Any] | Sequence[str] = (),
    snr: float | None = None,
    seed: int = 0,
    batch_size: int = 8,
    classifier: str | Path | None = None,
    label: str | None = None,
    strength: float = 1.0,
    known: Files | None = None,
    task: str = "inpaint",
    mask: str | Path | None = None,
    hidden: float = 0.5,
    factor: int = 2,
    conditioner: str = CONDITIONER,
    spacing_mm: float | None = None,
    accept: str | Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    output: str | Path | None = None,
    keep_identity: bool = False,
    on_step: Callable[[StepInfo], None] = lambda info: None,
) -> GeneratedImages:
    """Draw images from a prior.

    Image i depends on the seed and on i alone, not on ``count`` or ``batch_size``. With ``output``
    an interrupted call resumes when it is repeated.

    Args:
        prior: name of a prior, or a checkpoint file.
        count: number of images; with ``known``, of samples per observed image.
        size: rows and columns of the images, for priors for any matrix; 256 by default.
        spacing: pixel size of the images in mm, for priors for any matrix; 1.5 by default.
        sampler: name of the sampler; dpm-solver++ by default, ddim with ``known``.
        steps: steps of the time grid.
        grid: name of the time grid; angular by default, focused with ``known``.
        parameters: parameters of the methods, such as ``{"sampler.eta": 1}``.
        snr: short for the parameter ``sampler.snr``.
        seed: seed of all draws.
        batch_size: images drawn together.
        classifier: file with a classifier of noisy images, for ``label``.
        label: names of classes, separated by commas, which the images take in turn; without
            ``classifier``, the class of all images, of a prior that knows classes.
        strength: factor on the classifier's gradient; 1 is Bayes' rule.
        known: images that are partly observed; every sample agrees with its image's observed part.
        task: the observed part: inpaint (pixels), sr (block means) or colorize (grey values).
        mask: for inpaint, an image that is white where pixels are observed.
        hidden: for inpaint without a mask, side of the hidden centre as a fraction of the image's.
        factor: for sr, side of a block in pixels.
        conditioner: name of the conditioner, with ``known``.
        spacing_mm: pixel size in mm, for archives of known images that do not record it.
        accept: kinds of known images that are used all the same.
        device: auto, cpu or cuda.
        precision: float32, bf16 autocast, or auto for the faster one if it changes the images
            little; auto is float32 with a classifier.
        output: folder to write, which must not exist; None writes nothing.
        keep_identity: whether the provenance states the names of the files of ``known`` too, not
            only the starts of their hashes.
        on_step: called after every sampling step.

    Raises:
        MedscoreError: a parameter is invalid, an input file does not fit the prior, the output
            exists, or the sampler diverges.
    """
    defaults = ("dpm-solver++", "angular") if known is None else ("ddim", "focused")
    parameters = parsed(parameters)
    if snr is not None:
        parameters = {"sampler.snr": snr, **parameters}
    settings = GenerationSettings(
        str(prior), count, sampler or defaults[0], grid or defaults[1], steps, parameters, seed,
        precision, batch_size, label, strength, None if known is None else conditioner,
        size, spacing,
    )  # fmt: skip
    settings.check()
    folder = None if output is None else Path(output)
    state = None if folder is None else state_path(folder)
    states = () if state is None else (state,)
    if folder is not None:
        check_absent(folder, states)
    if classifier is not None and label is None:
        raise MedscoreError("`classifier` and `label` go together", hint="give both, or neither")
    if classifier is None and strength != 1.0:
        raise MedscoreError("`strength` without `classifier`", hint="give both, or neither")
    observed = ObservationSettings(
        tuple(as_paths(known or ())), task, None if mask is None else Path(mask), hidden, factor,
        spacing_mm, (accept,) if isinstance(accept, str) else tuple(accept),
    )  # fmt: skip
    if known is None and (observed != ObservationSettings(()) or conditioner != CONDITIONER):
        raise MedscoreError(
            "`task`, `mask`, `hidden`, `factor`, `conditioner`, `spacing_mm` and `accept` apply "
            "only with `known`",
            hint="give `known`, or leave them out",
        )
    file = prior_path(str(prior))
    checkpoint = read_checkpoint(file)
    contract = checkpoint.contract.at(size, spacing)
    own = None if classifier is not None else known_class(label, contract)
    chosen = resolve_device(device)
    request = unconditional(count, seed)
    if known is not None:
        observations = observe(observed, contract)
        request = conditional(
            count, seed, task, observations, settings.rule(), chosen, keep_identity=keep_identity
        )
    if classifier is not None and label is not None:
        classes = choose_classes(Path(classifier), label, strength, contract, chosen)
        request = request.guided(classes)
    network = placed(load_prior(file, device=chosen), contract).of_class(own)

    def its(precision: str) -> dict[str, Any]:
        """The settings, without the path of the prior's file."""
        return {**asdict(settings), "prior": contract.name, "precision": precision}

    def fingerprint(precision: str) -> str:
        run = its(precision)
        return fingerprint_of(medscore.__version__, checkpoint.sha256, request.origin, run)

    shape = contract.channels, contract.side, contract.side
    if precision == "auto" and classifier is not None:  # its gradients were not compared
        used = Choice("float32", "classifier")
    else:
        used = settle(precision, network, shape, chosen, state, fingerprint)
    with nullcontext() if folder is None else atomic_folder(folder, states) as unfinished:
        with resumable(state):
            found = draw(
                network, contract, replace(settings, precision=used.name), request, chosen, state,
                fingerprint(used.name), on_step, json.dumps(used.record()),
            )  # fmt: skip
        record = {
            "settings": {**its(used.name), "device": chosen},
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            **grid_record(checkpoint.contract, contract),
            **request.origin,
            "precision": used.record(),
            "nfe_per_sample": found.nfe,
            "seconds": round(found.seconds, 2),
        }
        shown, columns = request.sheet(found.x)
        result = GeneratedImages(
            found.x, found.nfe, with_versions(record), contract, shown, columns
        )  # fmt: skip
        if unfinished is not None:
            write_gallery(result, unfinished)
    return result


def draw(
    prior: NetworkPrior,
    contract: DataContract,
    settings: GenerationSettings,
    request: Request,
    device: str,
    state: Path | None = None,
    fingerprint: str = "",
    on_step: Callable[[StepInfo], None] = lambda info: None,
    note: str = "",
) -> Samples:
    """Run the engine for a request; the samples are in the prior's range.

    Args:
        prior: the prior, on ``device`` and on the grid of the contract.
        contract: its data contract, for one matrix size.
        settings: sampler, time grid, precision and batch size.
        request: the images to draw.
        device: device to draw on.
        state: folder with the state of an interrupted run; None keeps none.
        fingerprint: identifies the run.
        on_step: called after every sampling step.
        note: a text that is kept with the state.
    """
    own = split_parameters(settings.parameters, OF_IMAGES)
    times = times_of(build_grid(settings.grid, own["grid"]), prior.sde, settings.steps)
    sampler = build_sampler(settings.sampler, own["sampler"])
    job = Job(
        seeds=request.seeds,
        shape=(contract.channels, contract.side, contract.side),
        times=times,
        batches=lambda items: request.batch(prior, sampler, items),
        batch_size=settings.batch_size,
        device=device,
        bf16=settings.precision == "bf16",
        state=state,
        fingerprint=fingerprint,
        note=note,
    )
    return run(job, on_step)
