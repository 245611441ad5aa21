"""The data contracts of all priors that are known by name."""

from __future__ import annotations

import warnings

from medscore.errors import MedscoreError, MedscoreWarning
from medscore.priors.catalogue import fetched_priors, shipped_priors
from medscore.priors.checkpoint import read_checkpoint
from medscore.priors.contract import DataContract


def known_contracts() -> dict[str, DataContract]:
    """The data contracts of the shipped and the fetched priors, by name.

    A fetched prior that cannot be read is left out with a warning.

    Raises:
        MedscoreError: a shipped prior is damaged.
    """
    found = {name: read_checkpoint(path).contract for name, path in shipped_priors().items()}
    try:
        fetched = fetched_priors()
    except MedscoreError as error:
        warnings.warn(str(error), MedscoreWarning, stacklevel=2)
        return found
    for name, path in fetched.items():
        if name not in found:
            try:
                found[name] = read_checkpoint(path).contract
            except MedscoreError as error:
                warnings.warn(f"prior {name}: {error}", MedscoreWarning, stacklevel=2)
    return found
