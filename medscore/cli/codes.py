"""``medscore encode`` and ``medscore decode``: images to latent codes, and codes to images."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from pydantic import TypeAdapter
from rich.markup import escape
from torch import Tensor

import medscore
from medscore.priors.checkpoint import load_prior, read_checkpoint
from medscore.cli import options
from medscore.registry import names as registry
from medscore.generation.gallery import write_gallery
from medscore.generation.given import given
from medscore.cli.options import check_new, check_ranges
from medscore.cli.progress import console, counting_bar
from medscore.priors.contract import DataContract, SDESpec
from medscore.engine.loop import Counted
from medscore.errors import MedscoreError, reading
from medscore.io.files import atomic_folder, atomic_path, check_absent
from medscore.generation.latent import compare, decode, encode, slerp
from medscore.engine.resume import Progress, load_progress, save_progress

Tolerance = Annotated[float, typer.Option(help="Relative and absolute, of the flow's solver.")]
Precision = Annotated[str, typer.Option(help="float64, or float32: faster, and less exact.")]
PriorName = Annotated[str, typer.Option("--prior", help="Name of a shipped prior, or a path.")]


def encode_(
    images: Annotated[
        list[Path], typer.Argument(help="DICOM files or folders, NIfTI, pictures, NumPy archives.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File of codes (.npz).")],
    prior: PriorName = registry.DEFAULT_PRIORS["CT"],
    against: Annotated[
        str | None, typer.Option(help="Another prior on the same SDE: compare its codes.")
    ] = None,
    tolerance: Tolerance = 1e-8,
    precision: Precision = "float64",
    limit: Annotated[
        int | None, typer.Option(help="At most so many images, equally spaced.")
    ] = None,
    spacing_mm: options.Spacing = None,
    device: options.Device = "auto",
) -> None:
    """Latent codes of images by the probability flow, for `medscore decode`.

    Writes `code` (n, channel, H, W), the images' names, the prior's hash and SDE, and the NFE.
    After Ctrl-C the same command goes on with the next image. With --against it says how alike two
    priors' codes of the same images are.

    Example: medscore encode scan.dcm --prior ct-128-vp -o codes.npz
    """
    flow = Flow(tolerance, precision)
    flow.check()
    options.check_limit(limit)
    check_new(output)
    if output.suffix != ".npz":
        raise MedscoreError("no .npz file", where=output, mend="end its name with .npz")
    checkpoint = read_checkpoint(registry.prior_path(prior))
    found = given(images, checkpoint.contract, spacing_mm=spacing_mm, limit=limit)
    other = None if against is None else read_checkpoint(registry.prior_path(against))
    if other is not None:
        _check_like(checkpoint.contract, other.contract)
        if len(found.x) < 2:
            raise MedscoreError("--against with a single image", mend="give two or more")
    run = Run(flow, registry.device(device), output)
    codes, nfe = run.each(encode, "encode", prior, checkpoint.sha256, found.x)
    others = None
    if other is not None and against is not None:
        others, _ = run.each(encode, "against", against, other.sha256, found.x)
    with atomic_path(output) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(
            file, allow_pickle=False, code=codes.numpy(), image=np.array(found.names),
            prior=np.array(checkpoint.sha256), sde=np.array(_sde(checkpoint.contract)),
            nfe=np.array(nfe),
        )  # fmt: skip
    run.forget("encode", "against")
    console.print(f"{escape(str(output))}: {len(codes)} code(s), NFE {nfe}")
    if others is not None:
        typer.echo(json.dumps(asdict(compare(codes, others))))


def decode_(
    codes: Annotated[Path, typer.Argument(help="File of `medscore encode`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    prior: PriorName = registry.DEFAULT_PRIORS["CT"],
    temperature: Annotated[
        float, typer.Option(help="Times the codes: below 1 plainer images, above wilder ones.")
    ] = 1.0,
    between: Annotated[
        int, typer.Option(help="So many images on the way from each code to the next, ends too.")
    ] = 0,
    tolerance: Tolerance = 1e-8,
    precision: Precision = "float64",
    device: options.Device = "auto",
) -> None:
    """Images of latent codes by the probability flow.

    Writes sheet.png, images/, samples.npz and provenance.json, as `medscore generate` does. After
    Ctrl-C the same command goes on with the next image.

    Example: medscore decode codes.npz --prior ct-128-vp -o out

    Example: medscore decode codes.npz --prior ct-128-vp --between 8 --temperature 0.9 -o out
    """
    flow = Flow(tolerance, precision)
    flow.check()
    check_ranges(("--temperature", temperature, 0, 100), ("--between", between, 0, 10_000))
    check_absent(output)
    checkpoint = read_checkpoint(registry.prior_path(prior))
    contract = checkpoint.contract
    code, sha256 = _read(codes, contract)
    if between:
        code = _ways(code, between, codes)
    code = code * temperature
    begin = time.perf_counter()
    run = Run(flow, registry.device(device), output)
    with atomic_folder(output) as folder:
        x, nfe = run.each(decode, "decode", prior, checkpoint.sha256, code)
        origin = {
            "settings": {**asdict(flow), "temperature": temperature, "between": between},
            "prior": {"name": contract.name, "sha256": checkpoint.sha256},
            "codes": {"file": codes.name, "prior": sha256},
            "nfe_per_sample": nfe,
            "seconds": round(time.perf_counter() - begin, 2),
        }
        write_gallery(folder, x, contract, origin, columns=between or None)
    run.forget("decode")
    console.print(f"{escape(str(output))}: {len(x)} image(s), NFE {nfe}")


@dataclass(frozen=True)
class Flow:
    """How the flow is solved."""

    tolerance: float
    precision: str

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            MedscoreError: naming the option.
        """
        check_ranges(("--tolerance", self.tolerance, 1e-12, 1))
        if self.precision not in ("float32", "float64"):
            raise MedscoreError(
                f"--precision {self.precision}", mend="use float32 or float64"
            )  # fmt: skip

    @property
    def dtype(self) -> torch.dtype:
        """Of network and images."""
        return torch.float64 if self.precision == "float64" else torch.float32


@dataclass(frozen=True)
class Run:
    """One image after the other, each kept as soon as it is there.

    Attributes:
        output: what the command writes; what is kept lies beside it.
    """

    flow: Flow
    device: str
    output: Path

    def each(
        self, solve: Callable[..., Tensor], title: str, prior: str, sha256: str, x: Tensor
    ) -> tuple[Tensor, int]:
        """``encode`` or ``decode`` of every image or code under a prior, whose weights have that
        hash; on the CPU, and the mean NFE.
        """
        network = load_prior(registry.prior_path(prior), device=self.device).to(self.flow.dtype)
        content = hashlib.sha256(x.numpy().tobytes()).hexdigest()
        tolerance = self.flow.tolerance
        fingerprint = json.dumps([medscore.__version__, sha256, asdict(self.flow), content])
        progress = load_progress(self._state(title), fingerprint)
        with counting_bar(title, len(x)) as show:

            def tell(done: int, nfe: int) -> None:
                show(done, f"NFE {nfe}")

            for i in range(len(progress.done), len(x)):
                counted = Counted(network, tell=partial(tell, i))
                one = x[i : i + 1].to(self.device, self.flow.dtype)
                found = solve(counted, one, rtol=tolerance, atol=tolerance).cpu()
                spent = progress.evaluations + counted.nfe
                progress = Progress((*progress.done, found), evaluations=spent)
                save_progress(self._state(title), fingerprint, progress)
                tell(i + 1, counted.nfe)
        return torch.cat(progress.done), -(-progress.evaluations // len(x))

    def forget(self, *titles: str) -> None:
        """What was kept."""
        for title in titles:
            self._state(title).unlink(missing_ok=True)

    def _state(self, title: str) -> Path:
        return self.output.parent / f".{self.output.name}.{title}.resume.safetensors"


def _sde(contract: DataContract) -> str:
    return contract.sde.model_dump_json()


def _check_like(contract: DataContract, other: DataContract) -> None:
    shape, its = ((c.channels, c.size, _sde(c)) for c in (contract, other))
    if shape != its:
        raise MedscoreError(
            f"prior {other.name} is of images {its}, {contract.name} of {shape}",
            mend="codes compare where size, channels and SDE are the same",
        )


def _read(file: Path, contract: DataContract) -> tuple[Tensor, str]:
    """Codes (n, channel, H, W), and the hash of the prior that they are of."""
    shape = (contract.channels, contract.size, contract.size)
    with (
        reading("codes of this prior", file, "use a file of `medscore encode`, and its prior"),
        np.load(file, allow_pickle=False) as archive,
    ):
        code, sha256 = torch.from_numpy(archive["code"]), str(archive["prior"])
        sde = str(archive["sde"])
        if code.shape[1:] != shape or not len(code) or not bool(code.isfinite().all()):
            raise ValueError(
                f"an array of shape {tuple(code.shape)}, {shape} each expected, or NaN"
            )
        if TypeAdapter(SDESpec).validate_json(sde) != contract.sde:
            raise ValueError(f"codes on {sde}, prior {contract.name} is on {_sde(contract)}")
    return code.double(), sha256


def _ways(code: Tensor, count: int, file: Path) -> Tensor:
    """``count`` codes on the way from each to the next, along the sphere."""
    if len(code) < 2 or count < 2:
        raise MedscoreError(
            f"--between {count} with {len(code)} code(s)", where=file,
            mend="two codes or more and at least their two ends are needed",
        )  # fmt: skip
    weights = [k / (count - 1) for k in range(count)]
    return torch.cat(
        [slerp(code[i : i + 1], code[i + 1 : i + 2], w) for i in range(len(code) - 1)
         for w in weights]
    )  # fmt: skip
