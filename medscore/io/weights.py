"""Network weights on disk: a safetensors file with a contract as its JSON header and a hash.

Every kind of file (prior, supervised network, classifier, dequantizer) is one :class:`WeightsFile`,
which saves, reads, verifies and loads it. Nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.io.budget import check_memory
from medscore.io.files import atomic_write
from medscore.io.json_files import parse_json
from medscore.io.opening import regular_file
from medscore.io.specs import faults

Contract = TypeVar("Contract", bound=BaseModel)
Model = TypeVar("Model", bound=nn.Module)

LARGEST = torch.finfo(torch.float16).max
"""The largest number that the stored matrices and kernels can hold, 65504."""


@dataclass(frozen=True)
class StoredWeights(Generic[Contract]):
    """The content of a weights file.

    Attributes:
        contract: the header.
        sha256: hash of the weights that the header states (:func:`weights_hash`).
        weights: tensors by name.
    """

    contract: Contract
    sha256: str
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class WeightsFile(Generic[Contract]):
    """One kind of weights file, and how error messages refer to it.

    Attributes:
        format: identifier stored in the header; a file with another one is refused.
        contract: type of the header.
        what: noun for the file's content, such as "prior".
        where_from: hint for a missing file.
        made_by: the command that writes such files.
        renew: hint for a header that breaks the contract's schema.
        check: further check of a contract that was read; raises MedscoreError, naming the file.
    """

    format: str
    contract: type[Contract]
    what: str
    where_from: str
    made_by: str
    renew: str
    check: Callable[[Contract, Path], None] | None = None

    def save(self, path: str | Path, contract: Contract, weights: Mapping[str, Tensor]) -> None:
        """Write weights with their contract, atomically.

        Matrices and kernels are stored as float16 (a relative rounding error of 5e-4), tensors with
        one axis or none (biases, scales, frequencies of Fourier features) as float32.

        Args:
            path: file to write.
            contract: its header.
            weights: tensors by name, on any device.

        Raises:
            MedscoreError: a weight is NaN, infinite or beyond the range of float16.
        """
        tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        stored = {
            name: value.to(torch.float16 if value.ndim > 1 else torch.float32)
            for name, value in tensors.items()
        }
        check_finite(
            stored, path, "train again with a lower `learning_rate`, or import sound weights",
            also=f", or beyond the largest float16 number {LARGEST:g}",
        )  # fmt: skip
        header = {
            "format": self.format,
            "contract": contract.model_dump_json(),
            "sha256": weights_hash(stored),
        }
        atomic_write(Path(path), save(stored, metadata=header))

    def read(self, path: str | Path) -> StoredWeights[Contract]:
        """Read a file and check its header, but not its weights.

        Args:
            path: file to read.

        Raises:
            MedscoreError: the file does not exist, is not a safetensors file, has another format,
                or its header breaks the contract's schema.
        """
        path = Path(path)
        regular_file(path, self.what, self.where_from)
        check_memory(path.stat().st_size, path, "weights")
        header, weights = self._content(path)
        try:
            contract = self.contract.model_validate(parse_json(header["contract"]))
        except (KeyError, ValueError, ValidationError) as error:
            reason = (
                faults(error, self.contract)
                if isinstance(error, ValidationError)
                else str(error).splitlines()[0]
            )
            raise MedscoreError(
                f"broken data contract ({reason})", where=path, hint=self.renew
            ) from error
        if self.check is not None:
            self.check(contract, path)
        return StoredWeights(contract, header.get("sha256", ""), weights)

    def verify(self, path: str | Path) -> StoredWeights[Contract]:
        """Read a file, compare its weights with the hash in its header, and check their values.

        Args:
            path: file to read.

        Raises:
            MedscoreError: as :meth:`read`, the hashes differ, or a weight is NaN or infinite.
        """
        stored = self.read(path)
        actual = weights_hash(stored.weights)
        if actual != stored.sha256:
            raise MedscoreError(
                f"weights hash to {actual[:12]}, header says {stored.sha256[:12] or 'nothing'}",
                where=path,
                hint="the file is damaged or was altered: fetch it again",
            )
        check_finite(stored.weights, path, f"train the {self.what} again, or fetch another one")
        return stored

    def load(
        self, path: str | Path, build: Callable[[Contract], Model]
    ) -> tuple[Model, StoredWeights[Contract]]:
        """Verify a file, build the model that its contract describes and fill it.

        Args:
            path: file to read.
            build: makes the untrained model; the weights are those of its ``network``.

        Returns:
            The model in float32, in evaluation mode and without gradients, and the file's content.

        Raises:
            MedscoreError: as :meth:`verify`, or the weights do not fit the network.
        """
        stored = self.verify(path)
        with torch.device("meta"):  # shapes only: a header can ask for more than all memory
            fitting(cast(nn.Module, build(stored.contract).network), stored, path)
        model = build(stored.contract)
        fill_network(cast(nn.Module, model.network), stored, path)
        return model.eval().requires_grad_(False), stored

    def _content(self, path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
        """The header and the weights of a file of this format."""
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("format") != self.format:
                    raise MedscoreError(
                        f"format is {header.get('format')!r}, expected {self.format!r}",
                        where=path,
                        hint=f"use a checkpoint written by {self.made_by}",
                    )
                return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise MedscoreError(
                f"not a safetensors file ({error})",
                where=path,
                hint="only safetensors checkpoints are read; pickled ones are refused",
            ) from error


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """The sha256 over names, data types, shapes and bytes, in the order of the names.

    Args:
        weights: tensors by name.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_finite(
    weights: Mapping[str, Tensor], path: str | Path, hint: str, *, also: str = ""
) -> None:
    """Reject tensors with values that are NaN or infinite.

    The extremes of a tensor are found some 40 times faster than a mask of its finite values, and
    they are NaN if any value is.

    Args:
        weights: tensors by name.
        path: the file that they are in or meant for, for the error message.
        hint: what the user can do.
        also: what else the values may be, for the error message.

    Raises:
        MedscoreError: naming the first such tensors.
    """
    bad = [name for name, value in weights.items() if not _is_finite(value)]
    if bad:
        more = f", ... ({len(bad)} in all)" if len(bad) > 3 else ""
        raise MedscoreError(
            f"the weights are NaN or infinite{also}: {', '.join(bad[:3])}{more}",
            where=path,
            hint=hint,
        )


def _is_finite(value: Tensor) -> bool:
    if not value.numel():
        return True
    if value.is_complex():
        value = torch.view_as_real(value.resolve_conj())
    if not value.is_floating_point():
        return True
    low, high = value.aminmax()
    return math.isfinite(low) and math.isfinite(high)


def fitting(network: nn.Module, stored: StoredWeights[Contract], path: str | Path) -> None:
    """Compare the shapes of a network's weights with those in a file.

    Args:
        network: the network that the contract describes, on any device.
        stored: content of the file.
        path: the file, for the error message.

    Raises:
        MedscoreError: names or shapes of the weights differ from the network's.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in stored.weights.items()}
    if expected != found:
        names = sorted(expected.keys() | found.keys())
        name = next(n for n in names if expected.get(n) != found.get(n))
        raise MedscoreError(
            f"weights do not fit the network of the contract ({name} is "
            f"{found.get(name, 'missing')}, expected {expected.get(name, 'nothing')})",
            where=path,
            hint="the checkpoint is of another network",
        )


def fill_network(network: nn.Module, stored: StoredWeights[Contract], path: str | Path) -> None:
    """Load the weights of a file into a network, as float32.

    Args:
        network: the network that the contract describes.
        stored: content of the file.
        path: the file, for the error message.

    Raises:
        MedscoreError: names or shapes of the weights differ from the network's.
    """
    try:
        network.load_state_dict({name: value.float() for name, value in stored.weights.items()})
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise MedscoreError(
            f"weights do not fit the network of the contract ({reason})",
            where=path,
            hint="the checkpoint is of another network",
        ) from error
