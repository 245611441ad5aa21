"""Shared by all tests: threads, run-time shape checks, and the time limit of quick tests.

Plain ``pytest`` runs the quick lane: tests without a marker. ``pytest -m ""`` runs everything. A
test without a marker should take less than a second of CPU time, so that the quick lane stays
quick: the summary names those that take more, and those that take six seconds fail, which no
slow or crowded machine explains. The time of its own fixtures counts; that of fixtures which tests
share, such as a module's, does not. With ``MEDSCORE_SHAPES=1`` every annotated call is checked for
shapes and dtypes. Property tests repeat the same examples in every run, so that a test that passed
passes again; ``MEDSCORE_EXPLORE=1`` draws new ones.
"""

import atexit
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

os.environ["MEDSCORE_CACHE"] = CACHE = tempfile.mkdtemp(prefix="medscore-cache-")
os.environ["MEDSCORE_PRIORS"] = f"{CACHE}/priors"  # no test depends on what the user has fetched
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
os.environ["MEDSCORE_PRECISION"] = "float32"  # no test depends on the speed of the machine
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # GPU kernels run on the CPU
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # workers share the cores

if os.environ.get("MEDSCORE_SHAPES") == "1":
    from jaxtyping import install_import_hook

    # Before the hook: the innermost loops, whose annotations have no shapes to check, and the GPU
    # kernels, whose compiler reads their own source.
    importlib.import_module("medscore.operators.linalg")
    importlib.import_module("medscore.operators.ct.backends.matrix")
    if find_spec("triton"):
        importlib.import_module("medscore.operators.ct.backends.triton_kernels")
    install_import_hook("medscore", "beartype.beartype").__enter__()

SLOW_TO_IMPORT = ("monai.data.dataset", "monai.transforms.utility.array", "matplotlib.pyplot",
                  "monai.networks.nets.diffusion_model_unet", "optuna", "skimage.metrics",
                  "torchdiffeq", "lightning_fabric")  # fmt: skip
"""Imported lazily by functions; imported here so that no test is charged with their import time."""

hypothesis.settings.register_profile("repeatable", derandomize=True)
if os.environ.get("MEDSCORE_EXPLORE") != "1":
    hypothesis.settings.load_profile("repeatable")

MARKERS = {"slow", "process", "statistical", "full"}
AIM, LIMIT = 1.0, 6.0
"""Seconds of CPU time that a test without a marker should take, and may take."""

TOO_SLOW = "seconds of CPU time without a marker"

TIMES = os.environ.get("MEDSCORE_TEST_TIMES")
"""Folder to which CPU times are appended, one file for each process."""


STALE = pytest.StashKey[list[str]]()
SET_UP = pytest.StashKey[float]()
"""Seconds of CPU time that a test's own fixtures took."""


def pytest_sessionstart(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ or not session.config.option.numprocesses:
        for name in SLOW_TO_IMPORT:
            importlib.import_module(name)


def cpu_time() -> float:
    """Seconds of CPU time of this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def collects_all(config: pytest.Config) -> bool:
    """Whether every test is collected, with all packages that parts of them need."""
    if hasattr(config, "workerinput"):
        return bool(config.workerinput["collects_all"])
    some = ("keyword", "deselect", "ignore", "ignore_glob", "lf")
    chosen = any(getattr(config.option, name, None) for name in some)
    whole = config.args == config.getini("testpaths") and not chosen
    here = all(find_spec(name) for name in ("triton", "finufft", "sigpy"))
    return whole and here and not torch.cuda.is_available()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what its own command line does not say."""
    node.workerinput["collects_all"] = collects_all(node.config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow cases of tests whose other cases are quick, listed in slow_cases.txt."""
    slow = set((Path(__file__).parent / "slow_cases.txt").read_text().splitlines())
    if collects_all(config):
        config.stash[STALE] = sorted(slow - {item.nodeid for item in items})
    for item in items:
        if item.nodeid in slow:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def stale_cases(request: pytest.FixtureRequest) -> list[str]:
    """Lines of slow_cases.txt that are no tests."""
    if STALE not in request.config.stash:
        pytest.skip("needs a run that collects all tests, on a CPU")
    return request.config.stash[STALE]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Iterator[None]:
    start = cpu_time()
    found = yield
    if fixturedef.scope == "function":
        stash = request.node.stash
        stash[SET_UP] = stash.get(SET_UP, 0.0) + cpu_time() - start
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    start = cpu_time()
    found = yield
    taken = cpu_time() - start + item.stash.get(SET_UP, 0.0)
    if TIMES:
        with (Path(TIMES) / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps([item.nodeid, round(taken, 3)]) + "\n")
    marked = MARKERS & {marker.name for marker in item.iter_markers()}
    if marked or os.environ.get("MEDSCORE_SHAPES") == "1":
        return found
    if taken > AIM:
        item.user_properties.append((TOO_SLOW, round(taken, 1)))
    if taken > LIMIT:
        pytest.fail(
            f"took {taken:.1f} s of CPU time without a marker: make it quicker, or mark it "
            f"{', '.join(sorted(MARKERS))}",
            pytrace=False,
        )
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    options = config.getini("addopts")
    if config.option.markexpr == options[options.index("-m") + 1]:
        for report in terminalreporter.getreports("passed"):
            for name, value in report.user_properties:
                if name == TOO_SLOW:
                    terminalreporter.write_line(f"{report.nodeid}: {value} {TOO_SLOW}")
        terminalreporter.write_line('this was the quick lane; `pytest -m ""` runs all tests')
