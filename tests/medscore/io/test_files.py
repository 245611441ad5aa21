"""Files and folders are written completely or not at all, and what was there before is kept."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from medscore.errors import MedscoreError, WriteError
from medscore.io.files import (
    WRITTEN,
    atomic_folder,
    atomic_path,
    atomic_write,
    check_absent,
    check_new,
    forget,
    working_folder,
)
from medscore.io.locks import lock_beside, run_lock


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on a function of ``os`` reports a full disk."""

    def fill(name: str) -> None:
        def fails(*args: object, **kwargs: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, name, fails)

    return fill


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: (order.append(name), real(*args, **kwargs))[1]

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    atomic_write(tmp_path / "a", b"new")
    assert order == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, full: Callable[[str], None], name: str
) -> None:
    atomic_write(tmp_path / "a", b"old")
    full(name)
    with pytest.raises(WriteError, match=r"a: cannot be written \(No space left on device\)"):
        atomic_write(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def write(folder: Path, into: Callable[[Path], object]) -> None:
    with atomic_folder(folder) as part:
        into(part)


@pytest.mark.parametrize("name", ["mkdir", "fsync", "rename"])
def test_a_full_disk_leaves_no_part_of_a_folder(
    tmp_path: Path, full: Callable[[str], None], name: str
) -> None:
    def fill(part: Path) -> None:
        (part / "a").write_text("a")
        full(name)

    if name == "mkdir":
        full(name)
    with pytest.raises(WriteError, match=r"out: cannot be written"):
        write(tmp_path / "new" / "out", fill)
    assert names(tmp_path) == []


def no_space(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def no_space_for_a_file(part: Path) -> None:
    with atomic_path(part / "a") as inner:
        no_space(inner)


@pytest.mark.parametrize("fails", [no_space, no_space_for_a_file])
def test_a_full_disk_within_a_folder_is_reported_by_the_name_of_the_folder(
    tmp_path: Path, fails: Callable[[Path], None]
) -> None:
    with pytest.raises(WriteError, match=r"out: cannot be written") as caught:
        write(tmp_path / "out", fails)
    assert ".part-" not in str(caught.value)


def test_an_error_about_an_input_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), atomic_folder(tmp_path / "out"):
        (tmp_path / "missing").read_bytes()
    assert names(tmp_path) == []


def test_the_next_run_takes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".part-out").mkdir()
    (tmp_path / ".part-out" / "old").write_text("half")
    (tmp_path / ".out.lock").write_text("")
    (tmp_path / ".part-a.npz").write_text("a longer half of a file")
    with atomic_folder(tmp_path / "out") as part:
        assert names(part) == []
        (part / "new").write_text("whole")
    atomic_write(tmp_path / "a.npz", b"whole")
    assert names(tmp_path) == ["a.npz", "out"]
    assert names(tmp_path / "out") == ["new"]
    assert (tmp_path / "a.npz").read_bytes() == b"whole"


def test_the_state_is_removed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / ".out.resume"
    state.mkdir()
    (state / "0").write_text("work of hours")

    class Killed(BaseException):
        pass

    def killed(states: Sequence[Path]) -> None:
        if states:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("medscore.io.files.forget", killed)
        with pytest.raises(Killed), atomic_folder(tmp_path / "out", [state]) as part:
            (part / "a").write_text("a")
    assert names(tmp_path) == [".out.resume", "out"]
    (tmp_path / ".out.lock").write_text("")  # a kill leaves it, too
    with pytest.raises(MedscoreError, match="exists already"):
        check_absent(tmp_path / "out", [state])
    assert names(tmp_path) == ["out"]


def test_the_state_of_an_unfinished_run_stays_beside_a_folder_of_somebody_else(
    tmp_path: Path,
) -> None:
    state = tmp_path / ".out.resume"
    state.mkdir()
    (state / "0").write_text("work of hours")
    (state / WRITTEN).write_text("0")  # killed between this note and the folder's name
    (tmp_path / "out").mkdir()
    with pytest.raises(MedscoreError, match="exists already"):
        check_absent(tmp_path / "out", [state])
    assert (state / "0").read_text() == "work of hours"
    forget([state, tmp_path / "none"])
    assert names(tmp_path) == ["out"]


def test_a_folder_that_another_run_writes_is_refused_and_kept(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as part:
        (part / "a").write_text("a")
        with pytest.raises(MedscoreError, match=r"out: another run is writing this output"):
            write(tmp_path / "out", names)
        assert names(part) == ["a"]
    assert names(tmp_path / "out") == ["a"]


def work(folder: Path, into: Callable[[Path], object], *, result: bool = False) -> None:
    with working_folder(folder, lambda: result):
        into(folder)


@pytest.mark.parametrize("result", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_folder_is_removed_only_if_a_failed_run_made_it_without_a_result(
    tmp_path: Path, before: bool, result: bool
) -> None:
    folder = tmp_path / "a" / "runs"
    if before:
        folder.mkdir(parents=True)

    def fails(place: Path) -> None:
        (place / "log").write_text("log")
        no_space(place / "state")

    with pytest.raises(WriteError):
        work(folder, fails, result=result)
    assert folder.exists() == (before or result)
    assert (tmp_path / "a").exists() == (before or result)
    assert not (folder / ".lock").exists()


def test_other_errors_keep_the_folder_for_the_user_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="diverged"), working_folder(tmp_path / "a", bool):
        raise MedscoreError("diverged")
    assert (tmp_path / "a").exists()


def test_a_working_folder_is_of_one_run_at_a_time(tmp_path: Path) -> None:
    def again(folder: Path) -> None:
        with pytest.raises(MedscoreError, match="another run"):
            work(folder, names)

    work(tmp_path / "a", again)
    work(tmp_path / "a", names)


def test_a_folder_that_was_removed_meanwhile_is_an_error(tmp_path: Path) -> None:
    def removed(folder: Path) -> None:
        shutil.rmtree(folder)
        (folder / "b").write_text("b")

    with pytest.raises(WriteError, match="a: cannot be written"):
        work(tmp_path / "a", removed)


def test_a_lock_file_without_a_run_is_no_obstacle(tmp_path: Path) -> None:
    lock = lock_beside(tmp_path / "out")
    lock.write_text("")
    with run_lock(lock, tmp_path / "out"):
        assert lock.exists()
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_flock_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def unsupported(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", unsupported)
    with atomic_folder(tmp_path / "out") as part:
        atomic_write(part / "a.nii.gz", b"a")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a.nii.gz"]


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "meas.h5"
    link.symlink_to(tmp_path / "nothing")
    with pytest.raises(MedscoreError, match="exists already"):
        check_new(link)


@pytest.mark.parametrize("name", [".part-out", ".out.lock"])
def test_a_link_by_the_name_of_a_part_or_a_lock_leads_to_no_write(
    tmp_path: Path, name: str
) -> None:
    other = tmp_path / "precious"
    other.write_bytes(b"content")
    (tmp_path / name).symlink_to(other)
    if name == ".part-out":
        atomic_write(tmp_path / "out", b"new")
        assert not (tmp_path / "out").is_symlink()
        assert (tmp_path / "out").read_bytes() == b"new"
    else:
        with pytest.raises(WriteError), atomic_folder(tmp_path / "out"):
            pass
    assert other.read_bytes() == b"content"
