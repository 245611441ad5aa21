"""Types of the public names of this package, which are imported when first used."""

from .covariance import (
    PosteriorCovariance as PosteriorCovariance,
    covariance_diagonal as covariance_diagonal,
    covariance_product as covariance_product,
)
from .eigenvectors import (
    Eigenpairs as Eigenpairs,
    covariance_eigenvectors as covariance_eigenvectors,
)
from .krylov import matrix_function as matrix_function
from .low_rank import DiagonalLowRank as DiagonalLowRank
from .moments import cumulants as cumulants, moment as moment, shape_along as shape_along
from .sample_size import effective_share as effective_share
from .second_order import Form as Form, SecondOrder as SecondOrder
