"""medscore: medical image reconstruction from partial measurements with score-based priors."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# The folders operators/, datasets/ and configs/ of the repository are installed as subpackages.
# When Python runs in the repository itself, this folder shadows the installed package, so the
# siblings are added to where subpackages are looked for.
_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "operators").is_dir():
    __path__.append(str(_root))
