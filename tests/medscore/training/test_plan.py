"""Training plans: schedules, optimisers, and values that are refused."""

from dataclasses import replace

import pytest
import torch
from training import PLAN, prior

from medscore.training.plan import TrainingPlan


def rates(plan: TrainingPlan) -> list[float]:
    return [plan.rate(step) for step in range(1, plan.steps + 1)]


def test_the_learning_rate_warms_up_and_cools_down() -> None:
    found = rates(replace(PLAN, steps=20, warmup=4, cooldown=5))
    assert found[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert found[4:16] == pytest.approx([0.01] * 12)
    assert found[16:] == pytest.approx([0.008, 0.006, 0.004, 0.002])


def test_a_restart_repeats_the_schedule() -> None:
    """After a restart at step 8, the first 8 rates are those of a run of 8 steps."""
    once = replace(PLAN, steps=8, warmup=2, cooldown=3)
    further = replace(once, steps=14, restarts=(8,))
    assert rates(further)[:8] == rates(once)
    assert rates(further)[8:] == pytest.approx([0.005, 0.01, 0.01, 0.01, 0.02 / 3, 0.01 / 3])


def test_all_steps_and_seeds_have_different_generators() -> None:
    seeds = {replace(PLAN, seed=s).step_seed(k) for s in range(3) for k in range(1, 1000)}
    assert len(seeds) == 3 * 999


@pytest.mark.parametrize("name", ["adam", "amsgrad", "sgd"])
def test_every_optimiser_has_its_settings(name: str) -> None:
    plan = replace(PLAN, optimiser=name, adam_eps=1e-3)
    optimiser = plan.optimiser_for(prior().network)
    group = optimiser.param_groups[0]
    assert group["lr"] == 0.01
    assert isinstance(optimiser, torch.optim.SGD) == (name == "sgd")
    if name != "sgd":
        assert (group["eps"], group["amsgrad"]) == (1e-3, name == "amsgrad")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": 10, "accumulate": 4}, "batch 10 is not a multiple of accumulate 4"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"clip": float("inf")}, "clip is inf"),
        ({"ema_rate": 1.0}, "ema_rate is 1.0"),
        ({"restarts": (60,)}, "restarts"),
        ({"seed": -1}, "seed is -1"),
        ({"validate_every": -1}, "validate_every is -1"),
    ],
)
def test_values_out_of_range_are_refused_by_name(change: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        replace(PLAN, **change)  # type: ignore[arg-type]
