"""A trial read in a child process, for libraries that damaged files crash or hang.

HDF5, gdcm, ITK and the readers of MATLAB and twix files are code that, on a few damaged files in
ten thousand, ends the interpreter or never returns, which no exception handler can catch. So a
child process reads the file first, and it is read here only if the child survives. Each file is
looked at once in a process. The child runs this file as a script and imports nothing of medscore.
"""

from __future__ import annotations

import contextlib
import math
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

STALL = 4.0
"""CPU time in seconds that the child may use without reading a further piece of a file."""

SECONDS, BYTES_PER_SECOND = 120.0, 2e6
"""Time limit of the whole trial read: for any file, and per byte of large ones. It only matters
where a read waits without using CPU time; a loop in a library is stopped after ``STALL``."""

PIECE = 2**24
"""Bytes of an array that the child reads at once."""

BYTES_READ_PER_SECOND = 2e7
"""Lowest speed in CPU time at which a library that reads a file at once inflates it."""

SPARE, TIMES = 2**29, 4
"""Memory that the child may take: bytes, and in addition this multiple of the file's size."""

TWIX_MEMORY, TWIX_PER_SECOND = 2**25, 2e7
"""Bytes that twixtools takes beside the file's, and the bytes that it reads in a second."""

GREEDY = 3
"""Exit code of the child if a library asks for more memory than that."""

State = tuple[str, str, int, int, int]
_seen: dict[State, str | None] = {}


def probe(kind: str, paths: Sequence[Path], declared: int | None = None) -> tuple[Path, str] | None:
    """Read files in a child process, and tell on which one it failed, and how.

    Args:
        kind: ``hdf5`` (reads all arrays and attributes), ``dicom`` (all pixels), ``itk`` (all
            voxels), ``mat`` (all variables of a MATLAB file of version 4 or 5) or ``twix`` (all
            lines).
        paths: files to read.
        declared: bytes that all values of a MATLAB file declare.

    Returns:
        The file and its failure in words; ``None`` if there was none, or only an exception, which
        the caller will meet as well.
    """
    from medscore.io.budget import memory_budget  # the child does not need it

    if not sys.executable or not paths:
        return None
    seconds = SECONDS + sum(path.stat().st_size for path in paths) / BYTES_PER_SECOND
    most = memory_budget() if declared is None else min(declared, memory_budget())
    command = [sys.executable, "-P", str(Path(__file__).resolve()), kind, str(most)]
    try:
        child = subprocess.Popen(
            [*command, *map(str, paths)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:  # no child process can be started: skip the trial read
        return None
    with child:
        try:
            output, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
            return _at(paths, output), f"the {kind} library did not finish within {seconds:.0f} s"
        except BaseException:
            child.kill()
            raise
    stopped = -getattr(signal, "SIGPROF", 0)
    if stopped and child.returncode == stopped:
        return _at(paths, output), f"the {kind} library does not finish reading it"
    if child.returncode == GREEDY:
        return _at(paths, output), f"the {kind} library takes more memory than its size can need"
    if child.returncode < 0:
        return _at(paths, output), f"the {kind} library crashes on it"
    return None


def look(*paths: Path, kind: str = "hdf5", declared: int | None = None) -> None:
    """Reject files on which :func:`probe` fails; each file is read by one child at most.

    Args:
        paths: files to read.
        kind: see :func:`probe`.
        declared: see :func:`probe`.

    Raises:
        MedscoreError: the library crashes or hangs on one of the files.
    """
    from medscore.errors import MedscoreError  # the child does not need it

    states = {path: _state(kind, path) for path in paths}
    new = [path for path, state in states.items() if state not in _seen]
    found = probe(kind, new, declared)
    _seen.update({states[path]: None for path in new})
    if found is not None:
        at = new.index(found[0])
        for path in new[at:]:
            del _seen[states[path]]
        _seen[states[found[0]]] = found[1]
    for path, state in states.items():
        wrong = _seen.get(state)
        if wrong is not None:
            raise MedscoreError(f"damaged: {wrong}", where=path, hint="export it again")


def _state(kind: str, path: Path) -> State:
    status = path.stat()
    return kind, str(path.absolute()), status.st_ino, status.st_size, status.st_mtime_ns


def _at(paths: Sequence[Path], output: bytes) -> Path:
    """The file that the child was reading: it prints a letter after each one."""
    return paths[min(len(output), len(paths) - 1)]


def _progress(more: float = 0.0) -> None:
    """Give the child ``STALL`` and so many more seconds of CPU time; the signal ends it then."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, STALL + more)


def _limit_memory(path: str, more: int = 0) -> None:
    """Limit the memory of the child, where the system can (not on macOS and Windows).

    Args:
        path: the file that it reads.
        more: bytes of the largest piece that it reads.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * resource.getpagesize()
        allowed = used + SPARE + TIMES * Path(path).stat().st_size + 2 * more
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


def _lacks_memory(error: Exception) -> bool:
    """True if an exception says that memory could not be allocated."""
    return isinstance(error, MemoryError) or "memory allocation failed" in str(error)


def _hdf5(path: str) -> None:
    import h5py

    def visit(name: str, item: object) -> None:
        try:
            read(item)
        except Exception as error:  # the others are read all the same
            if _lacks_memory(error):
                raise

    def read(item: object) -> None:
        _progress()
        _ = dict(item.attrs)  # type: ignore[attr-defined]
        if isinstance(item, h5py.Dataset) and item.size and item.shape and not item.external:
            stored, row = item.id.get_storage_size(), item.size // item.shape[0]
            row = max(1, row * item.dtype.itemsize)
            if item.is_virtual or row * item.shape[0] > max(2**16, 1100 * stored):
                return
            step = max(1, PIECE // row)
            if item.chunks:
                chunk = math.prod(item.chunks) * item.dtype.itemsize
                _limit_memory(path, min(chunk, row * item.shape[0]))
                step = max(item.chunks[0], step // item.chunks[0] * item.chunks[0])
            for start in range(0, item.shape[0], step):
                _ = item[start : start + step]
                _progress()

    with h5py.File(path, "r") as file:
        _ = dict(file.attrs)
        file.visititems(visit)


def _dicom(path: str) -> None:
    import gzip
    import io

    import pydicom
    from pydicom.pixels.utils import iter_pixels

    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    for _ in iter_pixels(pydicom.dcmread(io.BytesIO(content), force=True)):
        _progress()


def _itk(path: str) -> None:
    import SimpleITK

    SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(path)
    reader.ReadImageInformation()
    _allow(path, 8 * math.prod(reader.GetSize()) * reader.GetNumberOfComponents())
    reader.Execute()


def _mat(path: str) -> None:
    from scipy.io import loadmat

    _allow(path, int(sys.argv[2]))
    with Path(path).open("rb") as file:
        loadmat(file, verify_compressed_data_integrity=True)


def _twix(path: str) -> None:
    import twixtools

    size = Path(path).stat().st_size
    _limit_memory(path, TWIX_MEMORY)
    _progress(size / TWIX_PER_SECOND)
    with contextlib.redirect_stdout(None):  # it warns there, without end on some files
        scans = twixtools.read_twix(path, verbose=False, parse_pmu=False, parse_geometry=False)
    for block in (block for scan in scans for block in scan["mdb"]):
        if not (block.is_flag_set("ACQEND") or block.is_flag_set("SYNCDATA")):
            _ = block.data
            _progress()


def _allow(path: str, declared: int) -> None:
    """Allow the child what it needs to read that many bytes at once, within the budget."""
    budget = int(sys.argv[2])
    _limit_memory(path, min(declared, budget))
    _progress(min(declared, budget) / BYTES_READ_PER_SECOND)


def main() -> int:
    """Entry point of the child process."""
    kind, _, *paths = sys.argv[1:]
    for path in paths:
        _progress()
        try:
            _limit_memory(path)
            {"hdf5": _hdf5, "dicom": _dicom, "itk": _itk, "mat": _mat, "twix": _twix}[kind](path)
        except Exception as error:  # the parent raises the same error and reports it
            return GREEDY if _lacks_memory(error) else 0
        sys.stdout.write(".")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
