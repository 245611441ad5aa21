"""The validation loss of a prior is reproducible, and so are the images of its samples."""

from pathlib import Path

import torch
from PIL import Image
from training import OBJECTIVE, prior, stripes

from medscore.training.validation import Validation, draw_samples


def images() -> torch.Tensor:
    return stripes(torch.Generator().manual_seed(9), slice(None))


def test_the_validation_loss_is_the_same_each_time_and_for_any_batch() -> None:
    model = prior()
    first = Validation(images(), OBJECTIVE, batch=8)(model)
    torch.manual_seed(123)
    assert Validation(images(), OBJECTIVE, batch=8)(model) == first
    assert abs(Validation(images(), OBJECTIVE, batch=5)(model) - first) < 1e-6 * first


def test_a_better_prior_has_a_lower_validation_loss() -> None:
    """Scaling up the last layer of the untrained network adds noise to its denoised images."""
    model = prior()
    before = Validation(images(), OBJECTIVE)(model)
    with torch.no_grad():
        model.network.last.weight *= 20
    assert Validation(images(), OBJECTIVE)(model) > 1.5 * before


def test_samples_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_samples(prior().eval(), (1, 8, 8), tmp_path / name, count=4)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (144, 144)  # 2 x 2 images with a gap of 2 pixels, magnified 8 times
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
