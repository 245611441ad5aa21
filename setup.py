"""What pyproject.toml cannot say: MEDSCORE_WITHOUT_WEIGHTS=1 builds a wheel without weights.

Such a build keeps the manifest and the cards of the shipped priors, which
``medscore priors fetch`` adds by their hashes.
"""

import os
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

VARIABLE = "MEDSCORE_WITHOUT_WEIGHTS"
ENDING = ".safetensors"


class BuildWithoutWeights(build_py):
    """Leaves out prior files if the environment variable asks for it."""

    def find_data_files(self, package: str, src_dir: str) -> list[str]:
        """The data files of a package.

        Args:
            package: its name.
            src_dir: its folder.
        """
        found: list[str] = super().find_data_files(package, src_dir)
        return [file for file in found if not (is_asked() and file.endswith(ENDING))]

    def run(self) -> None:
        """Build, and take away the weights that an earlier build has left in the same folder."""
        without = is_asked()
        super().run()
        if without and not self.editable_mode:
            for file in Path(self.build_lib).glob(f"medscore/priors/weights/*{ENDING}"):
                file.unlink()


def is_asked() -> bool:
    """Whether the weights are to be left out."""
    value = os.environ.get(VARIABLE, "0")
    if value not in ("", "0", "1"):
        raise SystemExit(f"{VARIABLE} is {value!r} - use 1 to leave out the weights, or 0")
    return value == "1"


setup(cmdclass={"build_py": BuildWithoutWeights})
