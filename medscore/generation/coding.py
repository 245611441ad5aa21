"""Encode images and decode latent codes by the probability flow ODE, one at a time, resumably."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

import medscore
from medscore.engine.items import Item, ItemFolder, fingerprint_of, run_items, state_path
from medscore.engine.loop import StepInfo
from medscore.errors import MedscoreError
from medscore.generation.codes import (
    Codes,
    between_codes,
    check_same_latents,
    read_codes,
    sde_json,
    write_codes,
)
from medscore.generation.gallery import GeneratedImages, with_versions, write_gallery
from medscore.generation.latent import compare_codes, decode, encode
from medscore.generation.one_grid import grid_record, placed
from medscore.io.files import atomic_folder, check_absent, check_new
from medscore.io.locks import lock_beside, run_lock
from medscore.io.opening import file_sha256
from medscore.likelihood.inputs import Files, check_limit, read_images
from medscore.priors.catalogue import WHOLE_IMAGE_PRIOR, prior_path
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.priors.counted import Counted
from medscore.registry.checks import check_counts, check_ranges, resolve_device

Progress = Callable[[StepInfo], None]


@dataclass(frozen=True)
class FlowSettings:
    """Settings of the solver of the probability flow ODE.

    Attributes:
        tolerance: relative and absolute tolerance of the solver.
        precision: float32 or float64, of network and images.
    """

    tolerance: float
    precision: str

    def check(self) -> None:
        """Reject invalid settings.

        Raises:
            MedscoreError: the tolerance is out of range or the precision is unknown.
        """
        check_ranges(("tolerance", self.tolerance, 1e-12, 1))
        if self.precision not in ("float32", "float64"):
            raise MedscoreError(
                f"`precision` is {self.precision!r}", hint="use float32 or float64"
            )  # fmt: skip

    @property
    def dtype(self) -> torch.dtype:
        """Data type of network and images."""
        return torch.float64 if self.precision == "float64" else torch.float32


def encode_images(
    images: Files,
    prior: str | Path = WHOLE_IMAGE_PRIOR,
    *,
    against: str | Path | None = None,
    tolerance: float = 1e-8,
    precision: str = "float64",
    limit: int | None = None,
    spacing_mm: float | None = None,
    accept: str | Sequence[str] = (),
    device: str = "auto",
    output: str | Path | None = None,
    keep_identity: bool = False,
    on_step: Progress = lambda info: None,
) -> Codes:
    """Latent codes of images by the probability flow.

    With ``output`` an interrupted call resumes with the next image when it is repeated.

    Args:
        images: DICOM files or folders, NIfTI files, image files or NumPy archives.
        prior: name of a prior, or a checkpoint file.
        against: another prior on the same SDE, whose codes are compared with these.
        tolerance: relative and absolute tolerance of the solver.
        precision: float64, or float32, which is faster and less accurate.
        limit: maximum number of images, which are then equally spaced among all.
        spacing_mm: pixel size in mm, for archives that do not record it.
        accept: kinds of images that are used all the same; see
            :func:`~medscore.datasets.load.load_image`.
        device: auto, cpu or cuda.
        output: file to write (.npz), which must not exist; None writes nothing.
        keep_identity: whether the file states the names of the image files too, not only the starts
            of their hashes.
        on_step: called after every network evaluation with the number of finished images.

    Raises:
        MedscoreError: a parameter is invalid, a file does not fit the prior, or the output exists.
    """
    flow = FlowSettings(tolerance, precision)
    flow.check()
    check_limit(limit)
    file = None if output is None else Path(output)
    states = () if file is None else tuple(state_path(file, t) for t in ("encode", "against"))
    if file is not None:
        check_new(file, states)
        if file.suffix != ".npz":
            raise MedscoreError("is not named .npz", where=file, hint="end its name with .npz")
    own = read_checkpoint(prior_path(str(prior)))
    contract = own.contract.at()
    found = read_images(images, contract, spacing_mm=spacing_mm, accept=accept, limit=limit)
    priors = [(str(prior), own)]
    if against is not None:
        other = read_checkpoint(prior_path(str(against)))
        check_same_latents(contract, other.contract)
        if len(found.x) < 2:
            raise MedscoreError("`against` with a single image", hint="give two images or more")
        priors.append((str(against), other))
    chosen = resolve_device(device)
    runs = [
        _Run(encode, flow, name, checkpoint.sha256, chosen, found.x, state)
        for (name, checkpoint), state in zip_longest(priors, states[: len(priors)])
    ]
    with nullcontext() if file is None else run_lock(lock_beside(file), file):
        if file is not None:
            check_new(file)  # another run may have written it since
        results = [run.each(_part_of(on_step, i, len(runs))) for i, run in enumerate(runs)]
        (code, nfe, _), *others = results
        codes = Codes(
            code, found.names, found.labels, own.sha256, sde_json(contract), nfe,
            compare_codes(code, others[0][0]) if others else None,
        )  # fmt: skip
        if file is not None:
            write_codes(codes, file, states, keep_identity=keep_identity)
    return codes


def decode_codes(
    codes: str | Path,
    prior: str | Path = WHOLE_IMAGE_PRIOR,
    *,
    temperature: float = 1.0,
    between: int = 0,
    tolerance: float = 1e-8,
    precision: str = "float64",
    device: str = "auto",
    output: str | Path | None = None,
    keep_identity: bool = False,
    on_step: Progress = lambda info: None,
) -> GeneratedImages:
    """Images of latent codes by the probability flow.

    With ``output`` an interrupted call resumes with the next image when it is repeated.

    Args:
        codes: file written by :func:`encode_images`.
        prior: name of a prior, or a checkpoint file.
        temperature: factor on the codes; below 1 gives images of lower diversity, above 1 of
            higher diversity.
        between: images from each code to the next, both ends included; 0 decodes the codes alone.
        tolerance: relative and absolute tolerance of the solver.
        precision: float64, or float32, which is faster and less accurate.
        device: auto, cpu or cuda.
        output: folder to write, which must not exist; None writes nothing.
        keep_identity: whether the provenance states the name of the file of codes too, not only
            its hash.
        on_step: called after every network evaluation with the number of finished images.

    Raises:
        MedscoreError: a parameter is invalid, the codes do not fit the prior, or the output exists.
    """
    flow = FlowSettings(tolerance, precision)
    flow.check()
    check_ranges(("temperature", temperature, 0, 100))
    check_counts(("between", between, 0, 10_000))
    folder, source = None if output is None else Path(output), Path(codes)
    state = None if folder is None else state_path(folder, "decode")
    states = () if state is None else (state,)
    if folder is not None:
        check_absent(folder, states)
    checkpoint = read_checkpoint(prior_path(str(prior)))
    contract = checkpoint.contract.at()
    code, sha256 = read_codes(source, contract)
    if between:
        code = between_codes(code, between, source)
    code = code * temperature
    run = _Run(decode, flow, str(prior), checkpoint.sha256, resolve_device(device), code, state)
    with nullcontext() if folder is None else atomic_folder(folder, states) as unfinished:
        x, nfe, seconds = run.each(on_step)
        record = {
            "settings": {**asdict(flow), "temperature": temperature, "between": between},
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            **grid_record(checkpoint.contract, contract),
            "codes": {
                "sha256": file_sha256(source),
                "prior": sha256,
                **({"file": source.name} if keep_identity else {}),
            },
            "nfe_per_sample": nfe,
            "seconds": round(seconds, 2),
        }
        result = GeneratedImages(x, nfe, with_versions(record), contract, x, between or None)
        if unfinished is not None:
            write_gallery(result, unfinished)
    return result


@dataclass(frozen=True)
class _Run:
    """Images ``x``, encoded or decoded one after another under a prior.

    ``sha256`` is the hash of the prior's weights, ``state`` the folder that keeps finished images.
    """

    solve: Callable[..., Tensor]
    flow: FlowSettings
    prior: str
    sha256: str
    device: str
    x: Tensor
    state: Path | None

    @property
    def folder(self) -> ItemFolder | None:
        """The finished images of an interrupted run."""
        if self.state is None:
            return None
        content = hashlib.sha256(self.x.numpy().tobytes()).hexdigest()
        parts = (medscore.__version__, self.sha256, asdict(self.flow), content)
        return ItemFolder(self.state, fingerprint_of(*parts))

    def each(self, on_step: Progress) -> tuple[Tensor, int, float]:
        """Results (n, channel, H, W) on the CPU, their mean NFE, rounded up, and the seconds."""
        loaded = load_prior(prior_path(self.prior), device=self.device)
        assert loaded.contract is not None
        network = placed(loaded, loaded.contract.at()).to(self.flow.dtype)
        count, tolerance = len(self.x), self.flow.tolerance

        def work(index: int) -> Item:
            begin = time.perf_counter()
            counted = Counted(network, tell=lambda nfe: on_step(StepInfo(index, count, nfe)))
            one = self.x[index : index + 1].to(self.device, self.flow.dtype)
            found = self.solve(counted, one, rtol=tolerance, atol=tolerance).cpu()
            record = {"nfe": counted.nfe, "seconds": time.perf_counter() - begin}
            return Item(record, {"x": found})

        def show(done: int, item: Item) -> None:
            on_step(StepInfo(done, count, item.record["nfe"]))

        items = run_items(count, work, self.folder, show)
        nfe = -(-sum(item.record["nfe"] for item in items) // count)
        seconds = sum(item.record["seconds"] for item in items)
        return torch.cat([item.tensors["x"] for item in items]), nfe, seconds


def _part_of(on_step: Progress, number: int, runs: int) -> Progress:
    """Progress of run ``number`` of several over the same images, as progress of all of them."""
    return lambda info: on_step(
        StepInfo(info.done + number * info.total, info.total * runs, info.nfe)
    )
