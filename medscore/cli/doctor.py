"""``medscore doctor``: the machine, its settings and speed, and what is installed."""

from __future__ import annotations

import json
import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

import medscore
from medscore.cli import environment

OPTIONAL = (
    "diffusers", "sigpy", "ismrmrd", "finufft", "spekpy", "xraydb", "triton",
    "astra-toolbox", "svmbir", "nilearn", "ray", "SimpleITK", "python-gdcm", "pylibjpeg",
    "pyjpegls",
)  # fmt: skip
"""Packages that extras or file formats need."""

RUNTIMES = ("libgomp", "libiomp5", "libomp")
"""OpenMP runtimes: GNU's, Intel's and LLVM's."""

GIB = 2**30


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe the machine, its speed, the settings of its threads, and what is installed.

    Times the shipped CT prior for about a second. Nothing identifies the user or the computer but
    the path of the cache folder.

    Example: medscore doctor

    Example: medscore doctor --json
    """
    found = {
        "medscore": medscore.__version__,
        "python": platform.python_version(),
        "machine": _machine(),
        "torch": _torch(),
        "threads": {
            name: {"value": value, "source": source}
            for name, (value, source) in environment.described(os.environ).items()
        },
        "network": _network(),
        "projectors": _projectors(),
        "packages": {name: _version(name) for name in OPTIONAL},
        "cache": _cache(),
        "priors": _priors(),
    }
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(_text(found)))


def _machine() -> dict[str, Any]:
    from medscore.io import machine
    from medscore.io.budget import machine_memory, memory_budget

    limit, load = machine.cpu_limit(), machine.load()
    return {
        "processor": machine.processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "usable_cores": machine.cores(),
        "cpu_limit": limit if math.isfinite(limit) else None,
        "memory_gib": round(machine_memory() / GIB, 1),
        "budget_gib": round(memory_budget() / GIB, 1),
        "load": None if math.isnan(load) else round(load, 2),
    }


def _torch() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "version": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "openmp": _runtimes(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _runtimes() -> list[str]:
    """The OpenMP runtimes that this process has loaded; empty where the system does not tell."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    names = {Path(line.split()[-1]).name for line in maps.splitlines() if "/" in line}
    return [r for r in RUNTIMES if any(name.startswith((f"{r}.", f"{r}-")) for name in names)]


def _network() -> dict[str, Any]:
    """Speed of the default CT prior in both precisions, without the cache of ``auto``."""
    from medscore.errors import MedscoreError
    from medscore.priors.catalogue import DEFAULT_PRIORS, prior_path
    from medscore.priors.checkpoint import load_prior
    from medscore.priors.precision import IMAGES, Choice, measure
    from medscore.registry.checks import resolve_device

    name, device = DEFAULT_PRIORS["CT"], resolve_device("auto")
    try:
        prior = load_prior(prior_path(name), device=device)
    except MedscoreError as error:  # damaged, or a build without weights
        return {"prior": name, "device": device, "fault": error.what}
    assert prior.contract is not None
    contract = prior.contract.at()
    shape = contract.side, contract.side
    placed = prior.on_grid(shape, contract.spacing_mm[0])
    timing = measure(placed, (contract.channels, *shape), device)
    found = Choice(timing.best, "timing", timing).record()
    return {"prior": name, "device": device, "images": IMAGES, **found}


def _projectors() -> dict[str, bool]:
    from medscore.operators.ct.projector import BACKENDS

    return {
        name: getattr(backend, "is_at_hand", lambda: True)() for name, backend in BACKENDS.items()
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cache() -> dict[str, Any]:
    from medscore.operators.ct.backends.cache import folder

    files = [path for path in folder().rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return {"folder": str(folder()), "files": len(files), "mib": round(size / 2**20, 1)}


def _priors() -> dict[str, str]:
    from medscore.errors import MedscoreError
    from medscore.priors.catalogue import entry_of, known_priors, left_out, shipped_priors
    from medscore.priors.checkpoint import verify
    from medscore.priors.manifest import check_file

    def state(name: str, path: Path) -> str:
        try:
            if (entry := entry_of(name)) is not None:
                check_file(path, entry)
            verify(path)
        except MedscoreError as error:
            return error.what
        return "intact"

    try:
        known, absent = known_priors(), dict.fromkeys(left_out(), "not in this build")
    except MedscoreError as error:
        known, absent = shipped_priors(), {"(fetched)": str(error)}
    return {name: state(name, path) for name, path in known.items()} | absent


def _text(found: dict[str, Any]) -> list[str]:
    """The lines to print."""
    m, t, n, cache = (found[key] for key in ("machine", "torch", "network", "cache"))
    limit = "no limit of CPU time" if m["cpu_limit"] is None else f"limited to {m['cpu_limit']:g}"
    present = [f"{name} {v}" for name, v in found["packages"].items() if v]
    absent = [name for name, v in found["packages"].items() if not v]
    rows = {
        "medscore": f"{found['medscore']}, Python {found['python']}",
        "machine": f"{m['processor']}, {m['system']}",
        "cores": f"{m['usable_cores']} usable of {m['cores']}, {limit}, load {m['load']}",
        "memory": f"{m['memory_gib']} GiB, of which one file may take {m['budget_gib']} GiB",
        "torch": f"{t['version']}, {t['instructions']}, OpenMP {', '.join(t['openmp']) or '?'}, "
        f"{t['threads']} threads",
        "GPU": ", ".join(t["gpus"]) or "none",
        **{f"  {name}": _setting(**entry) for name, entry in found["threads"].items()},
        "network": _speed(**n),
        "projectors": ", ".join(name for name, here in found["projectors"].items() if here),
        "packages": ", ".join(present) or "none",
        "not installed": ", ".join(absent) or "none",
        "cache": f"{cache['folder']}: {cache['files']} files, {cache['mib']} MiB",
        **{f"prior {name}": state for name, state in found["priors"].items()},
    }
    width = max(map(len, rows)) + 2
    return [f"{name:<{width}}{text}" for name, text in rows.items()]


def _speed(
    prior: str,
    device: str,
    images: int = 0,
    ms: dict[str, float | None] | None = None,
    used: str = "",
    fault: str = "",
    **_: Any,
) -> str:
    if fault:
        return f"{prior}: {fault}"
    times = {p: "-" if value is None else f"{value:.1f} ms" for p, value in (ms or {}).items()}
    return (
        f"{prior}, {images} images on {device}: float32 {times['float32']}, "
        f"bf16 {times['bf16']}; precision auto: {used}"
    )


def _setting(value: str | None, source: str) -> str:
    return "default" if value is None else f"{value} (set by {source})"
