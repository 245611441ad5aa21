"""Types of the public names of this package, which are imported when first used."""

from .contract import ImportContract as ImportContract, read_contract as read_contract
from .convert import KINDS as KINDS, ImportResult as ImportResult, import_prior as import_prior
