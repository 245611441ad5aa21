"""The user's contract of an import: ranges, contradictions, and weights that cannot be stored."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import CONTRACT, DDPM, NOISE_LEVEL, contract_file
from hypothesis import given, strategies as st

from medscore.errors import MedscoreError
from medscore.nets.monai_unet import MonaiUNetSpec
from medscore.priors.contract import DDPMSpec, PredictionSpec
from medscore.priors.importers.contract import (
    ImportContract,
    ImportedNetwork,
    assemble,
    fitted,
    read_contract,
)
from medscore.priors.importers.convert import KINDS
from medscore.priors.importers.read import Source

NETWORK = MonaiUNetSpec(
    channels=(8, 16), attention_levels=(False, True), norm_num_groups=4, num_head_channels=4
)
NUMBERS = st.floats(-2000, 2000)


@given(low=NUMBERS, width=st.floats(1, 4000), a=st.floats(-5, 4), span=st.floats(0.1, 9))
def test_the_ends_are_the_values_that_were_0_and_1_in_the_networks_input(
    low: float, width: float, a: float, span: float
) -> None:
    changes = {"low": low, "high": low + width, "network_range": (a, a + span)}
    zero, one = ImportContract.model_validate(CONTRACT | changes).ends()

    def shown(value: float) -> float:
        return a + (value - low) / width * span

    assert shown(zero) == pytest.approx(0, abs=1e-9)
    assert shown(one) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("network_range", "ends"), [((-1, 1), (250, 1500)), ((0, 1), (-1000, 1500))]
)
def test_the_usual_ranges(network_range: tuple[float, float], ends: tuple[float, float]) -> None:
    changes = {"low": -1000, "high": 1500, "network_range": network_range}
    assert ImportContract.model_validate(CONTRACT | changes).ends() == ends


def assembled(tmp_path: Path, defined: dict[str, Any], **changes: Any) -> Any:
    path = contract_file(tmp_path / "contract.yaml", **changes)
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"")
    found = ImportedNetwork(**({"network": NETWORK, "weights": {}} | defined))
    return assemble(read_contract(path), found, Source(weights, {}), path)


DEFINES = {"sde": DDPMSpec(), "prediction": PredictionSpec.model_validate(NOISE_LEVEL)}


def test_the_source_and_the_user_complete_each_other(tmp_path: Path) -> None:
    of_source = assembled(tmp_path, DEFINES | {"steps": 5})
    of_user = assembled(tmp_path, {}, sde=DDPM, prediction=NOISE_LEVEL)
    assert of_source.sde == of_user.sde == DDPMSpec()
    assert of_source.prediction == of_user.prediction
    assert (of_source.provenance.steps, of_user.provenance.steps) == (5, 0)
    assert of_source.data_mean == 0
    assert "imported, sha256 e3b0c44298fc1c149afbf4c8996fb" in of_source.provenance.data


@pytest.mark.parametrize(
    ("defined", "changes", "why"),
    [
        ({}, {}, "no sde, and the checkpoint does not define it"),
        ({}, {"sde": DDPM}, "no prediction, and the checkpoint does not define it"),
        (DEFINES, {"sde": DDPM | {"beta_max": 9}}, "sde is .*9.0, but .*20.0.* in the checkpoint"),
        (DEFINES, {"prediction": NOISE_LEVEL | {"target": "clean"}}, "prediction is .*clean"),
        ({}, {"sde": DDPM, "prediction": NOISE_LEVEL | {"levels": 10}}, "prediction.levels is 10"),
        (DEFINES, {"modality": "MR", "quantity": "complex"}, "images of 1 channels, complex .* 2"),
        (
            DEFINES | {"network": NETWORK.model_copy(update={"image_channels": 3})},
            {},
            "3 channels, HU images have 1",
        ),
        (DEFINES, {"size": 9}, "size 9 must be a multiple of 2"),
        (DEFINES, {"modality": "PET"}, "modality: "),
        (DEFINES, {"spacing_mm": [2, 1]}, "spacing_mm .* must be positive and increasing"),
        (DEFINES, {"low": 2000}, "low .* must be below high"),
    ],
)
def test_contradictions_and_gaps_are_refused(
    tmp_path: Path, defined: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(MedscoreError, match=why):
        assembled(tmp_path, defined, **changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"network_range": None}, "network_range: Field required"),
        ({"network_range": [1, -1]}, "must be increasing"),
        ({"provenance": {"data": "x"}}, "provenance.licence: Field required"),
        ({"colour": "red"}, "colour: there is no such key"),
        ({"sde": {"kind": "cosine"}}, "sde: "),
    ],
)
def test_an_incomplete_contract_is_refused(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(MedscoreError, match=why):
        read_contract(contract_file(tmp_path / "contract.yaml", **changes))


DOCS = Path(__file__).resolve().parents[4] / "docs" / "import.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
EXAMPLES = [block for block in BLOCKS if "network_range" in block]


def test_every_kind_has_an_example_in_the_documentation() -> None:
    assert len(EXAMPLES) == len(KINDS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_documented_contracts_are_read(tmp_path: Path, example: str) -> None:
    (tmp_path / "c.yaml").write_text(example)
    assert read_contract(tmp_path / "c.yaml").ends()[1] > 0


@pytest.mark.parametrize("value", [7e4, -7e4, float("nan"), float("inf")])
def test_weights_that_float16_cannot_hold_are_refused(value: float) -> None:
    torch.manual_seed(0)
    weights = NETWORK.build().state_dict()
    assert fitted(NETWORK, weights, Path("w.pt")).keys() == weights.keys()
    weights["body.time_embed.0.bias"][3] = value
    with pytest.raises(MedscoreError, match=r"65504.* body\.time_embed\.0\.bias"):
        fitted(NETWORK, weights, Path("w.pt"))


def test_the_message_has_the_first_names_of_each_fault_and_their_number() -> None:
    torch.manual_seed(0)
    weights = NETWORK.build().state_dict()
    gone = [name for name in weights if "norm1" in name]
    for name in gone:
        del weights[name]
    weights["body.extra"] = torch.zeros(1)
    weights["body.out.2.conv.bias"] = torch.zeros(7)
    expected = (
        rf"missing: {gone[0]}, {gone[1]}, {gone[2]}, \.\.\. \({len(gone)} in all\); "
        r"unknown: body\.extra; of another shape: body\.out\.2\.conv\.bias \(7,\) for \(1,\)"
    )
    with pytest.raises(MedscoreError, match=expected):
        fitted(NETWORK, weights, Path("w.pt"))
