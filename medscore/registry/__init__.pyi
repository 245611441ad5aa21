"""Types of the public names of this package, which are imported when first used."""

from .build import (
    build_conditioner as build_conditioner,
    build_grid as build_grid,
    build_sampler as build_sampler,
)
from .methods import CONDITIONERS as CONDITIONERS, GRIDS as GRIDS, SAMPLERS as SAMPLERS
from .presets import choose as choose, preset as preset
from .settings import Settings as Settings
from .table import Table as Table
