"""The tables of methods: complete, importable, and with documented parameters."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from subclasses import defined_in

import medscore.conditioners
import medscore.reconstruction.baselines
import medscore.samplers
from medscore.conditioners.base import Conditioner
from medscore.conditioners.guidance import ClassifierGuidance, EnergyGuidance
from medscore.conditioners.volume_tv import VolumeTV
from medscore.errors import MedscoreError
from medscore.reconstruction.baselines.base import Baseline
from medscore.reconstruction.baselines.methods import BASELINES
from medscore.registry.methods import CONDITIONERS, GRIDS, SAMPLERS
from medscore.samplers import grids
from medscore.samplers.annealed_langevin import ScaledLangevin
from medscore.samplers.base import Sampler
from medscore.samplers.langevin import Langevin, LangevinCorrector
from medscore.samplers.ode import AdaptiveFlow
from medscore.samplers.ozaki import Ozaki, ScaledOzaki
from medscore.samplers.predictor_corrector import PredictorCorrector

ALL = [(table, name) for table in (SAMPLERS, CONDITIONERS, BASELINES, GRIDS) for name in table]


def test_a_class_derived_from_a_conditioner_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "planted_package" / "inner"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    source = "from medscore.conditioners.dps import DPS\n\nclass Planted(DPS): ..."
    (folder / "planted.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("planted_package")
    assert {kind.__name__ for kind in defined_in(package, Conditioner)} == {"Planted"}


def test_every_conditioner_is_registered() -> None:
    # guidance needs a classifier or an energy, VolumeTV a volume: names cannot give them
    unnamed = {EnergyGuidance, ClassifierGuidance, VolumeTV}
    defined = defined_in(medscore.conditioners, Conditioner)
    assert set(CONDITIONERS.values()) == defined - unnamed


def test_every_sampler_is_registered() -> None:
    # parts of the samplers pc, annealed-langevin, ozaki and pc-ozaki, both at one noise level, and
    # the adaptive solver, which no method on the state can condition
    parts = {PredictorCorrector, LangevinCorrector, ScaledLangevin, Langevin, AdaptiveFlow}
    parts |= {Ozaki, ScaledOzaki}
    named = {made for made in SAMPLERS.values() if inspect.isclass(made)}
    assert named == defined_in(medscore.samplers, Sampler) - parts


def test_every_grid_is_registered() -> None:
    made = {
        rule
        for name, rule in vars(grids).items()
        if inspect.isfunction(rule)
        and name[0] != "_"
        and list(inspect.signature(rule).parameters)[:2] == ["sde", "steps"]
    }
    assert set(GRIDS.values()) == made


def test_every_baseline_is_registered_under_its_kind() -> None:
    assert set(BASELINES.values()) == defined_in(medscore.reconstruction.baselines, Baseline)
    for kind, made in BASELINES.items():
        field = made.model_fields["kind"]  # type: ignore[attr-defined]
        assert (*get_args(field.annotation), field.default) == (kind, kind)


@pytest.mark.parametrize(("table", "name"), ALL, ids=lambda v: v if isinstance(v, str) else "")
def test_every_parameter_has_help_a_type_and_a_valid_default(table: Any, name: str) -> None:
    for parameter in table.parameters(name).values():
        assert len(parameter.help) > 10, parameter
        assert parameter.type
        assert parameter.value(parameter.default, "default") == parameter.default


@pytest.mark.parametrize(("table", "name"), ALL, ids=lambda v: v if isinstance(v, str) else "")
def test_every_source_is_stated(table: Any, name: str) -> None:
    assert len(table.source(name)) > 20


def test_every_grid_has_its_own_source() -> None:
    assert len({GRIDS.source(name) for name in GRIDS}) == len(GRIDS)


def test_a_parameter_is_converted_from_text() -> None:
    assert CONDITIONERS.convert("diffpir", {"zeta": "0.3", "iterations": "7"}) == {
        "zeta": 0.3,
        "iterations": 7,
    }
    assert CONDITIONERS.convert("dds", {"gamma": "none"}) == {"gamma": None}
    assert BASELINES.convert("sirt", {"nonnegative": "false"}) == {"nonnegative": False}


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: CONDITIONERS["magic"], "no conditioner 'magic' - use one of: diffpir"),
        (
            lambda: CONDITIONERS.convert("dps", {"eta": 1}),
            "dps has no parameter 'eta' - it takes z",
        ),
        (lambda: SAMPLERS.convert("heun", {"eta": 1}), "no parameter 'eta' - it takes no param"),
        (lambda: SAMPLERS.convert("ddim", {"eta": 1.5}), r"eta is 1.5 - use a number in \[0, 1\]"),
        (lambda: SAMPLERS.convert("ddim", {"eta": "nan"}), "eta is 'nan' - use a number"),
        (lambda: SAMPLERS.convert("ddim", {"eta": "much"}), "eta is 'much' - use a number"),
        (lambda: SAMPLERS.convert("pc", {"corrections": 0}), "corrections is 0 - use a whole"),
        (lambda: BASELINES.convert("fista-tv", {"weight": 0}), "weight is 0 - use a number, > 0"),
        (lambda: BASELINES.convert("fbp", {"window": "tukey"}), "use one of ram-lak|use one of"),
    ],
)
def test_refuses_unknown_names_and_bad_values(call: Callable[[], Any], why: str) -> None:
    with pytest.raises(MedscoreError, match=why) as caught:
        call()
    assert "\n" not in str(caught.value)


PAGES = {"sampler": "samplers", "grid": "samplers", "conditioner": "conditioners",
         "baseline": "evaluation"}  # fmt: skip


@pytest.mark.parametrize(("table", "name"), ALL, ids=lambda v: v if isinstance(v, str) else "")
def test_every_method_is_in_the_docs(table: Any, name: str) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / f"{PAGES[table.kind]}.md"
    assert f"`{name}`" in page.read_text()
