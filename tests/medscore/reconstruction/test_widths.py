"""Intervals are calibrated for what was calibrated, and uncalibrated for everything else."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medscore.reconstruction.widths import Width, width_of
from medscore.uncertainty.intervals import student_multiple
from medscore.uncertainty.table import LEVELS, CalibrationTable, quantiles_of

SHA = "a" * 64
CONDITION = {
    "task": "sparse-ct", "modality": "CT", "rows": 128, "columns": 128, "pixel_mm": 2.8,
    "data_per_pixel": 0.25, "noise": 0.01,
}  # fmt: skip


def record() -> dict[str, Any]:
    """The record of a reconstruction of the calibrated family."""
    return {
        "settings": {
            "prior": "ct-128", "sampler": "ddim", "conditioner": "diffpir", "grid": "focused",
            "steps": 49, "samples": 8, "seed": 0, "noise": "recorded", "precision": "float32",
            "device": "cpu", "parameters": {"conditioner.zeta": 1.0},
        },
        "prior": {"name": "ct-128", "sha256": SHA},
        "grid": {"fitted": False, "outside_the_domain": []},
        "condition": dict(CONDITION), "z": [0.3, -1.0], "typicality": [],
    }  # fmt: skip


def table(patients: int = 10, rule: str = "measured", **changes: Any) -> CalibrationTable:
    """A table of patients whose errors are 1.5 to 2.4 times those that Student's t expects."""
    ideal = np.array([student_multiple(level, 8) for level in LEVELS])
    errors = [
        {
            "name": f"p{k}", "slices": 2, "pixels": 1000,
            "ratios": quantiles_of((1.5 + k / 10) * ideal), "regions": quantiles_of(3 * ideal),
        }
        for k in range(patients)
    ]  # fmt: skip
    family = {
        "name": "23 views", "conditions": [CONDITION, {**CONDITION, "pixel_mm": 3.2}],
        "method": {
            "sampler": "ddim", "conditioner": "diffpir", "grid": "focused", "steps": 49,
            "noise": "recorded", "conditioner.zeta": 1.0, "fitted to the prior's grid": False,
        },
        "samples": 8, "nfe": 50, "patients": errors,
    }  # fmt: skip
    content = {
        "prior": "ct-128", "prior_sha256": SHA, "data": ["a.npz"], "rule": rule,
        "families": [family], "medscore": "0",
    }  # fmt: skip
    return CalibrationTable.model_validate(content | changes)


def test_the_family_that_was_calibrated_is_calibrated() -> None:
    found = width_of(record(), 8, 0.9, table())
    assert (found.calibrated, found.family, found.reason) == (True, "23 views", "")
    assert 1.5 < found.factor < 2.4
    assert found.region_factor == pytest.approx(3.0, rel=1e-3)
    assert "10 patients are inside, and of a new patient at most 18.2 %" in found.guarantee
    assert found.record()["table"]["patients"] == [f"p{k}" for k in range(10)]


@pytest.mark.parametrize(
    ("rule", "patients", "said"),
    [
        ("patient", 10, "with probability 0.9, at most 10 % of a new patient's pixels"),
        ("expected", 20, "of a new patient at most 10 % of the pixels are expected"),
        ("confident", 60, "with confidence 0.9, of a new patient at most 10 %"),
    ],
)
def test_every_rule_states_what_it_guarantees(rule: str, patients: int, said: str) -> None:
    found = width_of(record(), 8, 0.9, table(patients, rule))
    assert found.calibrated
    assert said in found.words
    assert f"({patients} patients)" in found.words
    assert found.multiple > width_of(record(), 8, 0.9, table(patients)).multiple


def _in(*keys: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


UNUSUAL = {"test": "residual", "z": 9.0, "threshold": 3.0, "unusual": True}
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "task": (_in("condition", "task", value="mar"), "task mar, not sparse-ct"),
    "matrix": (_in("condition", "rows", value=256), "rows 256, not 128"),
    "pixels": (_in("condition", "pixel_mm", value=0.7), "0.7 mm per pixel, not 2.8 to 3.2"),
    "fewer views": (_in("condition", "data_per_pixel", value=0.1), "0.1 measured numbers"),
    "more views": (_in("condition", "data_per_pixel", value=0.5), "0.5 measured numbers"),
    "noise": (_in("condition", "noise", value=0.1), "0.1 noise relative to the data, not 0.01"),
    "no noise": (_in("condition", "noise", value=0.0), "0 noise relative to the data"),
    "sampler": (_in("settings", "sampler", value="pc"), "sampler pc, not ddim"),
    "steps": (_in("settings", "steps", value=20), "steps 20, not 49"),
    "parameter": (
        _in("settings", "parameters", value={"conditioner.zeta": 0.5}),
        "conditioner.zeta 0.5, not 1.0",
    ),
    "more parameters": (
        _in("settings", "parameters", value={"conditioner.zeta": 1.0, "sampler.eta": 1}),
        "sampler.eta 1, not None",
    ),
    "noise told": (_in("settings", "noise", value="estimate"), "noise estimate, not recorded"),
    "fitted": (_in("grid", "fitted", value=True), "fitted to the prior's grid True, not False"),
    "class": (_in("prior", "class", value="T1"), "class T1, not None"),
    "prior": (_in("prior", "sha256", value="b" * 64), "belongs to another prior"),
    "covariance": (
        _in("prior", "covariance_sha256", value="c" * 64),
        "another learned covariance",
    ),
    "domain": (_in("grid", "outside_the_domain", value=["pixels are 9 mm"]), "pixels are 9 mm"),
    "z": (_in("z", value=[0.0, -5.0]), "unlike the prior's validation images (z -5.0)"),
    "anatomy": (_in("typicality", value=[UNUSUAL]), "(residual test, z +9.0)"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_anything_else_is_uncalibrated_with_factor_1(name: str) -> None:
    change, reason = CHANGES[name]
    other = copy.deepcopy(record())
    change(other)
    found = width_of(other, 8, 0.9, table())
    assert reason in found.reason
    assert not found.calibrated
    assert found.factor == found.region_factor == 1.0
    assert "uncalibrated" in found.words
    assert found.description.endswith("uncalibrated")


def test_what_was_not_sampled_or_has_no_table_is_uncalibrated() -> None:
    assert "no posterior sampling" in width_of({"method": "fbp"}, 8, 0.9, table()).reason
    assert "no calibration table" in width_of(record(), 8, 0.9, None).reason
    assert "7 samples, not 8" in width_of(record(), 7, 0.9, table()).reason


def test_settings_that_do_not_change_the_posterior_do_not_count() -> None:
    other = record()
    other["settings"] |= {"seed": 5, "device": "cuda", "precision": "bf16", "prior": None}
    assert width_of(other, 8, 0.9, table()).calibrated


@pytest.mark.parametrize(("rule", "needed"), [("patient", 9), ("expected", 9), ("confident", 25)])
def test_a_rule_out_of_reach_says_how_many_patients_it_needs(rule: str, needed: int) -> None:
    found: Width = width_of(record(), 8, 0.9, table(5, rule))
    assert f"the rule {rule} needs {needed} patients" in found.reason
    assert found.factor == 1.0


def test_levels_beyond_the_table_are_uncalibrated() -> None:
    assert "up to the level 0.995" in width_of(record(), 8, 0.999, table()).reason
    assert width_of(record(), 8, 0.99, table()).calibrated


def test_quantiles_hold_at_least_their_share() -> None:
    values = np.random.default_rng(0).gamma(1.0, 2.0, 997)
    found = quantiles_of(values)
    assert len(found) == len(LEVELS)
    for level, quantile in zip(LEVELS, found, strict=True):
        assert (values <= quantile).mean() >= level
    assert quantiles_of(np.array([1.0, np.inf]))[-1] == 1e9
