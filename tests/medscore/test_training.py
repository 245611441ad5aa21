"""Training learns, resumes exactly, and stops on trouble."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medscore.errors import MedscoreError
from medscore.prior import NetworkPrior
from medscore.sde import VE
from medscore.training import (
    TrainingPlan,
    averaged_weights,
    data_statistics,
    train,
)

PLAN = TrainingPlan(steps=60, batch=16, learning_rate=1e-2, warmup=5, save_every=10, seed=3)


class Tiny(nn.Module):
    """Two convolutions that see the noise level."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, u: Tensor, log_s: Tensor) -> Tensor:
        level = log_s[:, None, None, None].expand_as(u)
        out: Tensor = self.last(torch.tanh(self.first(torch.cat([u, level], dim=1))))
        return out


def prior() -> NetworkPrior:
    torch.manual_seed(0)
    return NetworkPrior(Tiny(), VE(0.01, 10.0))


def stripes(generator: torch.Generator) -> Tensor:
    """Images whose rows are constant: a structure that white data do not have."""
    rows = 0.5 * torch.randn(PLAN.batch, 1, 8, 1, generator=generator)
    return rows.expand(-1, -1, -1, 8).clone()


def weights(model: NetworkPrior) -> list[Tensor]:
    return [v.clone() for v in model.network.state_dict().values()]


def test_training_beats_the_denoiser_of_white_data(tmp_path: Path) -> None:
    """The loss is 1 for a silent network by construction; stripes can be averaged along."""
    plan = replace(PLAN, steps=300)
    losses = [report.loss for report in train(prior(), stripes, plan, tmp_path)]
    assert sum(losses[-50:]) / 50 < 0.75


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, part = prior(), prior()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    reports = list(train(whole, stripes, PLAN, tmp_path / "a"))
    for report in train(part, stripes, PLAN, tmp_path / "b"):
        if report.step == 27:  # between two checkpoints, as a kill would be
            break
    fresh = prior()
    resumed = list(train(fresh, stripes, PLAN, tmp_path / "b"))
    assert resumed[0].step == 21
    assert resumed == reports[20:]
    for a, b in zip(weights(whole), weights(fresh), strict=True):
        assert torch.equal(a, b)
    logs = [(tmp_path / name / "loss.jsonl").read_text() for name in "ab"]
    assert logs[0] == logs[1]


def test_the_log_has_a_line_per_20_steps(tmp_path: Path) -> None:
    list(train(prior(), stripes, PLAN, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]


def test_the_average_is_a_weighted_mean_of_the_path(tmp_path: Path) -> None:
    """Karras et al. 2024, Eq. 2, unrolled by hand."""
    model, path = prior(), []
    plan = replace(PLAN, steps=5, save_every=5, ema_power=3.0)
    for _ in train(model, stripes, plan, tmp_path):
        path.append(weights(model)[0])
    expected = path[0]
    for k in range(2, 6):
        keep = (1 - 1 / k) ** 4
        expected = keep * expected + (1 - keep) * path[k - 1]
    step, average = averaged_weights(tmp_path)
    assert step == 5
    torch.testing.assert_close(average["first.weight"], expected)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(MedscoreError, match="loss is nan at step 1"):
        list(train(prior(), lambda g: stripes(g) * float("nan"), PLAN, tmp_path))


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    list(train(prior(), stripes, replace(PLAN, steps=2), tmp_path))
    other = NetworkPrior(nn.Conv2d(1, 1, 1), VE())
    with pytest.raises(MedscoreError, match="another network"):
        next(train(other, stripes, PLAN, tmp_path))


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"junk")
    with pytest.raises(MedscoreError, match="not a training state"):
        next(train(prior(), stripes, PLAN, tmp_path))


def test_the_learning_rate_warms_up_and_cools_down(tmp_path: Path) -> None:
    plan = replace(PLAN, steps=20, warmup=4, cooldown=5)
    rates = [report.learning_rate for report in train(prior(), stripes, plan, tmp_path)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates[4:16] == pytest.approx([0.01] * 12)
    assert rates[16:] == pytest.approx([0.008, 0.006, 0.004, 0.002])


def test_a_restart_repeats_the_schedule(tmp_path: Path) -> None:
    """Going on from step 8: the first 8 rates are those of a run of 8 steps."""
    once = replace(PLAN, steps=8, warmup=2, cooldown=3)
    first = [report.learning_rate for report in train(prior(), stripes, once, tmp_path)]
    further = replace(once, steps=14, restarts=(8,))
    after = [report.learning_rate for report in train(prior(), stripes, further, tmp_path)]
    (tmp_path / "state.safetensors").unlink()
    rates = [report.learning_rate for report in train(prior(), stripes, further, tmp_path)]
    assert rates == first + after
    assert rates[8:] == pytest.approx([0.005, 0.01, 0.01, 0.01, 0.02 / 3, 0.01 / 3])


def test_data_statistics() -> None:
    images = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    mean, std = data_statistics(images)
    assert (mean, std) == pytest.approx((1.5, float(images.double().std(correction=0))))
