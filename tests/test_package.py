"""The package as a whole: its files, its imports, and contents that are not allowed."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    p for folder in ("medscore", "operators", "datasets") for p in (ROOT / folder).rglob("*.py")
)


def imported(path: Path) -> set[str]:
    """Modules that a file imports, by full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("folder", ["operators", "datasets"])
def test_operators_and_datasets_import_no_core_and_not_each_other(folder: str) -> None:
    allowed = (
        f"medscore.{folder}",
        "medscore.errors",
        "medscore.types",
        "medscore.numeric",
        "medscore.hounsfield",
    )
    readers = ("opening", "budget", "hdf5", "probe", "numpy_files", "pictures", "yaml_files",
               "machine", "mat_files", "array_files", "arrays", "specs")  # fmt: skip
    allowed += tuple(f"medscore.io.{name}" for name in ("files", "json_files", *readers))
    for path in (ROOT / folder).rglob("*.py"):
        ours = {name for name in imported(path) if name.startswith("medscore.")}
        assert {n for n in ours if not n.startswith(allowed)} == set(), path


def test_no_library_module_imports_the_command_line() -> None:
    for path in SOURCES:
        if "cli" not in path.parts and path.name != "__main__.py":
            assert not {n for n in imported(path) if n.startswith("medscore.cli")}, path


def called(path: Path) -> list[tuple[str, ast.Call]]:
    """Calls of ``a.b(...)`` in a file, as ``a.b`` and the call."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(call.func), call) for call in calls]


def test_every_protocol_can_be_checked_at_run_time() -> None:
    """Otherwise the run-time checks of types fail wherever the protocol is an annotation."""
    found, unchecked = 0, []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and {"Protocol"} & {
                ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases
            }:
                found += 1
                decorators = {ast.unparse(d).split(".")[-1] for d in node.decorator_list}
                if "runtime_checkable" not in decorators:
                    unchecked.append(f"{path}: {node.name}")
    assert found > 10
    assert unchecked == []


@pytest.mark.slow
def test_nothing_pickles_but_torchs_weights_only_reader_in_one_file() -> None:
    reader, loads = ROOT / "medscore" / "priors" / "importers" / "read.py", []
    for path in SOURCES:
        assert not imported(path) & {"pickle", "dill", "joblib", "torch.load", "torch.save"}, path
        text = path.read_text()
        for call in ("torch.save(", "allow_pickle=True"):
            assert call not in text, (path, call)
        assert path == reader or "torch.load" not in text, path
        loads += [call for name, call in called(path) if name == "torch.load"]
    assert reader.read_text().count("torch.load") == len(loads) == 1
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in loads[0].keywords}
    assert given["weights_only"] == "True"


@pytest.mark.slow
def test_no_content_of_a_file_is_executed_but_torchscript_that_the_user_trusts() -> None:
    """No code is made from text, and modules are imported by names that stand in the source."""
    trusted = ROOT / "medscore" / "generation" / "inception.py"
    for path in SOURCES:
        names = imported(path)
        assert not names & {"marshal", "shelve", "cloudpickle", "runpy", "code", "pty"}, path
        for name, call in called(path):
            assert name not in {"eval", "exec", "compile", "__import__", "os.system"}, path
            assert not name.startswith("torch.jit.") or path == trusted, path
            assert not name.startswith("torch.hub."), path
            if name.startswith("yaml.") and "load" in name:  # a loader of plain values only
                assert path == ROOT / "medscore" / "io" / "yaml_files.py", (path, name)
                assert ast.unparse(call) == "yaml.load(text, _Loader)"
            if name == "np.load":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert given["allow_pickle"] == "False", path
            if name.startswith("subprocess."):
                assert "shell" not in {keyword.arg for keyword in call.keywords}, path


def test_torchvision_is_absent() -> None:
    """Its builds do not match the CPU build of torch, and importing both fails."""
    assert find_spec("torchvision") is None


def test_modules_stay_short() -> None:
    long = {p.name: n for p in SOURCES if (n := len(p.read_text().splitlines())) > 300}
    assert long == {}


def test_the_readme_shows_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "pip install -c constraints.txt . && medscore demo" in readme
    assert 'pip install -c constraints.txt ".[test]" && pytest' in readme


def _without_global_options(root: Any, words: list[str]) -> list[str]:
    """The words from the command on; each option before it takes a value."""
    known = {name for parameter in root.params for name in parameter.opts}
    while words[0].startswith("--"):
        assert words[0] in known, words
        words = words[2:]
    return words


def test_every_command_in_the_docs_exists_with_its_options() -> None:
    """``medscore X --option`` in README and docs against the command line's own help."""
    import typer

    from medscore.cli.app import app

    root = typer.main.get_command(app)
    context = typer.Context(root)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages += sorted((ROOT / "medscore" / "priors" / "weights").glob("*.md"))
    checked = 0
    for page in pages:
        blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for line in re.findall(r"^\s*(?:\$ )?medscore (.+)$", "\n".join(blocks), re.MULTILINE):
            words = _without_global_options(root, line.split())
            command = root.get_command(context, words[0])  # type: ignore[attr-defined]
            assert command is not None, line
            if hasattr(command, "get_command"):
                command = command.get_command(context, words[1])
                assert command is not None, line
            known = {option for p in command.params for option in p.opts}
            used = {word for word in words if word.startswith("-")}
            assert used <= known, line
            checked += 1
    assert checked >= 20


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


def test_the_navigation_lists_every_page_once() -> None:
    listed: list[str] = []

    def collect(part: object) -> None:
        if isinstance(part, str):
            listed.append(part)
        elif isinstance(part, dict):
            collect(list(part.values()))
        elif isinstance(part, list):
            for inner in part:
                collect(inner)

    collect(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    docs = ROOT / "docs"
    assert sorted(listed) == sorted(str(p.relative_to(docs)) for p in docs.rglob("*.md"))


@pytest.mark.full
def test_the_wheel_holds_everything_and_imports_outside_the_repository(tmp_path: Path) -> None:
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would pack what it holds
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("medscore-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(site)
    wanted = {
        f"medscore/{p.relative_to(ROOT / 'medscore')}"
        for p in SOURCES
        if "medscore" in p.relative_to(ROOT).parts
    }
    for folder in ("operators", "datasets"):
        wanted |= {f"medscore/{p.relative_to(ROOT)}" for p in (ROOT / folder).rglob("*.py")}
    shipped = {"medscore/py.typed", "medscore/configs/train/ct-128.yaml"}
    shipped |= {
        f"medscore/priors/weights/{path.name}"
        for path in (ROOT / "medscore" / "priors" / "weights").iterdir()
    }
    assert wanted | shipped <= names
    code = (
        "import importlib, pkgutil, sys, medscore\n"
        f"assert medscore.__file__.startswith({str(site)!r}), medscore.__file__\n"
        "for m in pkgutil.walk_packages(medscore.__path__, 'medscore.'):\n"
        "    if not m.name.endswith('triton_kernels'):  # needs the extra gpu\n"
        "        importlib.import_module(m.name)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
    )


@pytest.mark.full
def test_a_wheel_without_weights_says_what_to_fetch(tmp_path: Path) -> None:
    """Built over an earlier build, whose weights setuptools would pack."""
    source, weights = tmp_path / "source", Path("medscore", "priors", "weights")
    for name in ("medscore", "operators", "datasets", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    stale = source / "build" / "lib" / weights / "older.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier build")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    asked = {**os.environ, "MEDSCORE_WITHOUT_WEIGHTS": "1"}
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    run([*build, "-w", str(tmp_path), str(source)], env=asked)
    (wheel,) = tmp_path.glob("medscore-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
        archive.extractall(tmp_path / "site")
    left = {weights / path.name for path in (ROOT / weights).iterdir()}
    assert {name for name in names if name.parent == weights} == {
        name for name in left if name.suffix != ".safetensors"
    }
    code = (
        "import medscore\n"
        "try: medscore.load_prior('ct-128')\n"
        "except medscore.MedscoreError as error: print(error)\n"
    )
    found = run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
    )
    digest = sha256((ROOT / weights / "ct-128.safetensors").read_bytes()).hexdigest()
    assert f"`medscore priors fetch`, its sha256 is {digest}" in found.stdout


@pytest.mark.full
def test_a_wrong_build_option_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "setup.py"), "build_py", "--build-lib", str(tmp_path)]
    asked = {**os.environ, "MEDSCORE_WITHOUT_WEIGHTS": "yes"}
    found = subprocess.run(command, env=asked, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode
    assert "MEDSCORE_WITHOUT_WEIGHTS is 'yes' - use 1" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_folder_of_the_repository_is_listed_in_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    mapped = settings["package-dir"]
    for name in settings["packages"]:
        base = max((m for m in mapped if f"{name}.".startswith(f"{m}.")), key=len)
        folder = ROOT / mapped[base] / name.removeprefix(base).lstrip(".").replace(".", "/")
        assert (folder / "__init__.py").is_file(), name
    present = {
        f"medscore.{p.name}" for p in (ROOT / "medscore").iterdir() if (p / "__init__.py").is_file()
    }
    for root in ("operators", "datasets"):
        inner = (p.parent for p in (ROOT / root).rglob("__init__.py"))
        present |= {f"medscore.{p.relative_to(ROOT)}".replace("/", ".") for p in inner}
    assert present <= set(settings["packages"])
