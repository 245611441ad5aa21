"""Patterns and configurations without the folders that they name outside the data folder."""

from pathlib import Path

import pytest
import yaml

from medscore.io.identity import without_folder, without_folders


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("ct/*.nii.gz", "ct/*.nii.gz"),
        ("package:nilearn/datasets/*.nii.gz", "package:nilearn/datasets/*.nii.gz"),
        ("lidc:LIDC-IDRI@0-0.9", "lidc:LIDC-IDRI@0-0.9"),
        ("/home/Doe^John/*.nii.gz", ".../*.nii.gz"),
        ("/home/Doe^John/jane_roe.nii.gz", ".../*.nii.gz"),
        ("~/jane_roe.dcm", ".../*.dcm"),
        ("../Doe/x.npz", ".../*.npz"),
        ("a/../../Doe", ".../*"),
        (r"C:\Users\Doe\x.npz", ".../*.npz"),
        ("C:/Users/Doe/x.npz", ".../*.npz"),
        ("lidc:/home/Doe/LIDC@0-0.9", "lidc:...@0-0.9"),
        ("fastmri:~/Doe", "fastmri:..."),
    ],
)
def test_only_paths_out_of_the_data_folder_are_reduced(pattern: str, found: str) -> None:
    assert without_folder(pattern) == found
    assert without_folder(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "# kept\ndata: [/home/Doe/*.npz, ct/*.npz]\nstart: /home/Doe/own.safetensors\n",
        "# kept\ndata:\n- /home/Doe/*.npz\n- ct/*.npz\nstart: '/home/Doe/own.safetensors'\n",
        'data: ["\\x2fhome/Doe/*.npz", ct/*.npz]\nstart: "/home/\\x44oe/own.safetensors"\n',
        "data: [/home/Doe/*.npz, ct/*.npz]\nstart: &x /home/Doe/own.safetensors\n",
    ],
    ids=["flow", "block", "escaped", "anchor"],
)
def test_a_configuration_stays_valid_without_folders(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    found = without_folders(tmp_path / "c.yaml")
    assert yaml.safe_load(found) == {
        "data": [".../*.npz", "ct/*.npz"], "start": ".../*.safetensors",
    }  # fmt: skip
    assert "Doe" not in found
    assert ("# kept" in found) == ("# kept" in text)
