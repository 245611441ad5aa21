"""MR contrasts are recognised by the names that files give them."""

import pytest

from medscore.datasets.collections.contrasts import class_number, contrast_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("T1", "T1"), ("T1w 0.67 mm", "T1"), ("sub-01_t1_mprage", "T1"), ("T1 sagittal", "T1"),
        ("T2 FS axial", "T2"), ("AX T2 FSE", "T2"), ("PD-FS coronal", "PD"), ("pdw_tse", "PD"),
        ("FLAIR", "FLAIR"), ("T2-FLAIR", "FLAIR"), ("ax_t2_flair", "FLAIR"),
        ("T2*", None), ("T1rho", None), ("DWI", None), ("", None), ("PD/T2 dual echo", None),
    ],
)  # fmt: skip
def test_a_name_tells_the_contrast(text: str, found: str | None) -> None:
    assert contrast_of(text) == found


def test_classes_are_counted_from_one_and_unknown_contrasts_are_zero() -> None:
    classes = ("T1", "T2", "ADC map")
    texts = ("T1w", "T2 axial", "ADC map", "FLAIR", "DWI", None)
    assert [class_number(text, classes) for text in texts] == [1, 2, 3, 0, 0, 0]
    assert class_number("T1", ()) == 0
