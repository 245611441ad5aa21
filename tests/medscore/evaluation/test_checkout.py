"""A report names the commit of medscore's own checkout, and never that of another project."""

import subprocess
from pathlib import Path

import pytest

from medscore.evaluation.checkout import commit

pytestmark = pytest.mark.process


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def checkout(root: Path, name: str = "medscore", *, tracked: bool = True) -> Path:
    """A repository with a package; its files are committed unless they are not tracked."""
    (root / "medscore").mkdir(parents=True)
    (root / "medscore" / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
    git(root, "init", "-q")
    if tracked:
        git(root, "add", ".")
    git(root, "commit", "-q", "--allow-empty", "-m", "first")
    return root


def test_the_commit_of_its_own_checkout_is_named_with_changes(tmp_path: Path) -> None:
    root = checkout(tmp_path / "own")
    first = git(root, "rev-parse", "--short", "HEAD")
    assert commit(root) == first
    (root / "medscore" / "__init__.py").write_text("x = 1\n")
    assert commit(root) == f"{first}-dirty"


def test_the_commit_of_another_project_is_not_named(tmp_path: Path) -> None:
    project = checkout(tmp_path / "project", "else")
    assert commit(project) is None  # a project with a copy of the package at its root
    installed = project / ".venv" / "lib" / "site-packages"
    (installed / "medscore").mkdir(parents=True)
    (installed / "medscore" / "__init__.py").write_text("")
    assert commit(installed) is None
    vendored = project / "vendor"
    (vendored / "medscore").mkdir(parents=True)
    (vendored / "medscore" / "__init__.py").write_text("")
    (vendored / "pyproject.toml").write_text('[project]\nname = "medscore"\n')
    git(project, "add", "-f", ".")
    git(project, "commit", "-q", "-m", "second")
    assert commit(vendored) is None


def test_files_that_git_does_not_track_have_no_commit(tmp_path: Path) -> None:
    assert commit(checkout(tmp_path / "own", tracked=False)) is None
    assert commit(tmp_path / "nothing") is None


def test_git_variables_of_the_environment_do_not_point_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = checkout(tmp_path / "own"), checkout(tmp_path / "other", "else")
    git(other, "commit", "-q", "--allow-empty", "-m", "another")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert commit(own) == git(own, "--git-dir", str(own / ".git"), "rev-parse", "--short", "HEAD")
