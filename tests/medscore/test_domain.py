"""The image domain: what is wrong with it is said in one line in Python and in files."""

from typing import Any

import pytest
from pydantic import ValidationError

from medscore.domain import ImageDomain
from medscore.errors import MedscoreError

VALID = {"modality": "CT", "quantity": "HU", "low": -1000, "high": 1500}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"modality": "XX"}, "`modality` is 'XX' - input should be 'CT', 'MR' or 'picture'"),
        ({"low": 2000}, "`low` 2000.0 must be below `high` 1500.0"),
        ({"spacing_mm": (2, 1)}, "`spacing_mm` .* must be positive and increasing"),
        ({"colour": 1}, "ImageDomain has no field `colour` - use name, modality"),
        ({"size": 0}, "`size` is 0 - input should be greater than 0"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why) as caught:
        ImageDomain(**{**VALID, **changed})
    assert "\n" not in str(caught.value)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(MedscoreError, match="ImageDomain needs `quantity`"):
        ImageDomain(modality="CT")  # type: ignore[call-arg]


def test_files_have_messages_of_their_own() -> None:
    with pytest.raises(ValidationError):
        ImageDomain.model_validate({**VALID, "modality": "XX"})
