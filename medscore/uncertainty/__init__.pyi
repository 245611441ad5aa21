"""Types of the public names of this package, which are imported when first used."""

from .blocks import BlockCovariance as BlockCovariance
from .covariance import (
    PosteriorCovariance as PosteriorCovariance,
    covariance_diagonal as covariance_diagonal,
    covariance_product as covariance_product,
)
from .eigenvectors import (
    Eigenpairs as Eigenpairs,
    covariance_eigenvectors as covariance_eigenvectors,
)
from .intervals import (
    check_level as check_level,
    predictive_deviation as predictive_deviation,
    ratios as ratios,
    student_multiple as student_multiple,
)
from .krylov import matrix_function as matrix_function
from .low_rank import DiagonalLowRank as DiagonalLowRank
from .moments import cumulants as cumulants, moment as moment, shape_along as shape_along
from .ranks import RankTest as RankTest, rank_test as rank_test, ranks as ranks
from .regions import Estimate as Estimate, Region as Region, regions_of as regions_of
from .risk import (
    confident_bound as confident_bound,
    expected_bound as expected_bound,
    smallest_multiple as smallest_multiple,
)
from .sample_size import effective_share as effective_share
from .scores import (
    correlation as correlation,
    coverage_by_width as coverage_by_width,
    crps as crps,
)
from .second_order import Form as Form, SecondOrder as SecondOrder
from .table import (
    CalibrationTable as CalibrationTable,
    Family as Family,
    read_table as read_table,
    write_table as write_table,
)
