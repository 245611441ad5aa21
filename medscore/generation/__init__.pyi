"""Types of the public names of this package, which are imported when first used."""

from .classifier import NoisyClassifier as NoisyClassifier, load_classifier as load_classifier
from .codes import Codes as Codes, read_codes as read_codes, write_codes as write_codes
from .coding import (
    FlowSettings as FlowSettings,
    decode_codes as decode_codes,
    encode_images as encode_images,
)
from .comparison import (
    Comparison as Comparison,
    Distances as Distances,
    TrainingNeighbours as TrainingNeighbours,
    compare_images as compare_images,
    read_features as read_features,
)
from .completion import Completion as Completion, complete as complete
from .gallery import GeneratedImages as GeneratedImages, write_gallery as write_gallery
from .inception import inception_features as inception_features
from .latent import (
    Agreement as Agreement,
    agreement as agreement,
    compare_codes as compare_codes,
    decode as decode,
    encode as encode,
    slerp as slerp,
)
from .observations import (
    Observations as Observations,
    ObservationSettings as ObservationSettings,
    observe as observe,
)
from .quality import (
    frechet as frechet,
    mmd as mmd,
    precision_recall as precision_recall,
    sliced_wasserstein as sliced_wasserstein,
)
from .sampling import GenerationSettings as GenerationSettings, generate as generate
from .sheet import contact_sheet as contact_sheet
