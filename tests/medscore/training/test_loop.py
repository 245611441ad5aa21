"""The training loop learns, resumes exactly, and stops if the loss or gradient is not finite."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from training import OBJECTIVE, PLAN, Tiny, prior, stripes, weights

from medscore.errors import MedscoreError
from medscore.priors.network import NetworkPrior
from medscore.sdes.linear import VE
from medscore.training import loop
from medscore.training.loop import Draws, Hooks, draw, prefetch, train_steps
from medscore.training.monitor import SPIKE, Monitor, StepReport
from medscore.training.plan import TrainingPlan
from medscore.training.precision import faster_in_bf16
from medscore.training.state import averaged_weights

SUPPORT = Path(__file__).resolve().parents[2] / "support"


def run(
    model: NetworkPrior, folder: Path, plan: TrainingPlan = PLAN, hooks: Hooks | None = None
) -> list[StepReport]:
    folder.mkdir(exist_ok=True)
    return list(train_steps(model, stripes, OBJECTIVE, plan, folder, hooks=hooks or Hooks()))


@pytest.mark.slow
def test_training_beats_the_denoiser_of_white_data(tmp_path: Path) -> None:
    """A network with zero output has loss 1; stripes can be denoised by averaging."""
    losses = [report.loss for report in run(prior(), tmp_path, replace(PLAN, steps=300))]
    assert sum(losses[-50:]) / 50 < 0.75


def test_a_resumed_run_ends_with_identical_weights(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    whole = prior()
    reports = run(whole, tmp_path / "a")
    for report in train_steps(prior(), stripes, OBJECTIVE, PLAN, tmp_path / "b"):
        if report.step == 27:  # between two checkpoints, as after a kill
            break
    fresh = prior()
    resumed = run(fresh, tmp_path / "b")
    assert resumed[0].step == 21
    assert resumed == reports[20:]
    for a, b in zip(weights(whole), weights(fresh), strict=True):
        assert torch.equal(a, b)
    logs = [(tmp_path / name / "loss.jsonl").read_text() for name in "ab"]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("at", [1, 6, 7, 12, 33])
def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(tmp_path: Path, at: int) -> None:
    """Also where a mean of losses began before the state, and where a line is ahead of it."""
    plan = replace(PLAN, steps=34, log_every=3, save_every=6)
    run(prior(), tmp_path / "a", plan)
    (tmp_path / "b").mkdir()
    for report in train_steps(prior(), stripes, OBJECTIVE, plan, tmp_path / "b"):
        if report.step == at:
            break
    run(prior(), tmp_path / "b", plan)
    logs = [(tmp_path / name / "loss.jsonl").read_text() for name in "ab"]
    assert logs[0] == logs[1]
    steps = [json.loads(line)["step"] for line in logs[0].splitlines()]
    assert steps == [*range(3, 34, 3), 34]  # and the last one


def test_a_state_is_saved_after_the_line_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after the state was saved loses no line."""
    seen: list[tuple[int, int]] = []
    real = loop.save_state

    def save(path: Path, step: int, *args: Any) -> None:
        real(path, step, *args)
        lines = (tmp_path / "loss.jsonl").read_text().splitlines()
        seen.append((step, json.loads(lines[-1])["step"]))

    monkeypatch.setattr(loop, "save_state", save)
    run(prior(), tmp_path, replace(PLAN, steps=20, log_every=5, save_every=5))
    assert seen == [(5, 5), (10, 10), (15, 15), (20, 20)]


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_is_set_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    plan = replace(PLAN, steps=40, log_every=1)
    run(prior(), tmp_path / "a", plan)
    (tmp_path / "b").mkdir()
    real = time.time
    for report in train_steps(prior(), stripes, OBJECTIVE, plan, tmp_path / "b"):
        if report.step == 10:
            monkeypatch.setattr(time, "time", lambda: real() + jump)
    logs = [(tmp_path / name / "loss.jsonl").read_text() for name in "ab"]
    assert logs[0] == logs[1]


SCRIPT = """
import sys, time
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from training import OBJECTIVE, PLAN, prior, stripes
from medscore.training import loop
from medscore.training.loop import train_steps
plan = replace(PLAN, steps=250, save_every=1)
for report in train_steps(prior(), stripes, OBJECTIVE, plan, Path(sys.argv[1])):
    print(report.step, flush=True)
"""


@pytest.mark.process
def test_a_run_killed_at_random_moments_ends_with_identical_weights(tmp_path: Path) -> None:
    """Killed by kill -9 three times, with a checkpoint after every step, which must stay intact."""
    (tmp_path / "a").mkdir()
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "a")]
    env = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    for kill_at in (4, 19, 33):
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= kill_at:
                    break
            time.sleep(0.003 * kill_at % 0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    whole = prior()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(whole, tmp_path / "b", replace(PLAN, steps=250))
    torch.set_num_threads(threads)
    step, killed = averaged_weights(tmp_path / "a")
    assert step == 250
    for name, value in whole.network.state_dict().items():
        assert torch.equal(killed[name], value)


def test_accumulation_does_not_change_the_gradient(tmp_path: Path) -> None:
    """Ten steps of SGD in float64, where only the order of summation differs."""
    plan = replace(PLAN, steps=10, optimiser="sgd", precision="float64")
    whole, parts = prior(), prior()
    run(whole, tmp_path / "a", plan)
    run(parts, tmp_path / "b", replace(plan, accumulate=4))
    for a, b in zip(weights(whole), weights(parts), strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert not torch.equal(weights(whole)[0], weights(prior())[0].double())


@pytest.mark.parametrize("faster", [True, False])
def test_precision_auto_is_that_of_the_faster_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    """The timed steps leave no trace: the run has the bits of one in the chosen precision."""
    tried = list[tuple[bool, float]]()

    def measure(step: Callable[[bool], float], device: torch.device) -> bool:
        assert device.type == "cpu"
        tried.extend((bf16, step(bf16)) for bf16 in (True, False, True))
        return faster

    monkeypatch.setattr(loop, "faster_in_bf16", measure)
    chosen, fixed = prior(), prior()
    found = run(chosen, tmp_path / "auto", replace(PLAN, steps=3, precision="auto"))
    fixed_plan = replace(PLAN, steps=3, precision="bf16" if faster else "float32")
    assert found == run(fixed, tmp_path / "fixed", fixed_plan)
    assert tried[0] == tried[2] != tried[1]
    for a, b in zip(weights(chosen), weights(fixed), strict=True):
        assert torch.equal(a, b)


def test_the_least_time_of_a_step_counts_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step of each precision is slow, and here each counts its own seconds."""
    clock = 0.0
    seconds = {False: [9.0, 3.0, 2.0], True: [1.0, 8.0, 2.5]}

    def step(bf16: bool) -> None:
        nonlocal clock
        clock += seconds[bf16].pop(0)

    monkeypatch.setattr("medscore.training.precision.time.perf_counter", lambda: clock)
    monkeypatch.setattr("medscore.training.precision.emulates_bf16", lambda device: False)
    device = torch.device("cpu")
    assert not faster_in_bf16(step, device)
    seconds = {False: [0.0, 3.0, 2.0], True: [9.0, 8.0, 1.5]}
    assert faster_in_bf16(step, device)
    monkeypatch.setattr("medscore.training.precision.emulates_bf16", lambda device: True)
    assert not faster_in_bf16(step, device)  # without a step: none is left in `seconds`


def test_bf16_runs_the_network_in_autocast_and_keeps_float32_weights(tmp_path: Path) -> None:
    seen = []

    class Spy(Tiny):
        def forward(self, u: Tensor, log_s: Tensor) -> Tensor:
            out = super().forward(u, log_s)
            seen.append((u.dtype, out.dtype))
            return out

    model = NetworkPrior(Spy(), VE(0.01, 10.0))
    run(model, tmp_path, replace(PLAN, steps=2, precision="bf16"))
    assert seen == [(torch.float32, torch.bfloat16)] * 2
    assert {w.dtype for w in weights(model)} == {torch.float32}


def test_the_log_has_its_lines_and_tensorboard_files(tmp_path: Path) -> None:
    run(prior(), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert set(lines[0]) == {"step", "loss", "gradient", "learning_rate"}
    files = [path.name for path in (tmp_path / "tensorboard").iterdir()]
    assert files == ["events.out.tfevents.0000000001"]  # the first step, and neither time nor host


@pytest.mark.parametrize("rate", [None, 0.75])
def test_the_average_is_a_weighted_mean_of_all_weights_so_far(
    tmp_path: Path, rate: float | None
) -> None:
    """Karras et al. 2024, Eq. 2, or a constant decay, computed step by step."""
    model, path = prior(), [weights(prior())[0]]
    plan = replace(PLAN, steps=5, save_every=5, ema_power=3.0, ema_rate=rate)
    for _ in train_steps(model, stripes, OBJECTIVE, plan, tmp_path):
        path.append(weights(model)[0])
    expected = path[0]
    for k in range(1, 6):
        keep = (1 - 1 / k) ** 4 if rate is None else rate
        expected = keep * expected + (1 - keep) * path[k]
    step, average = averaged_weights(tmp_path)
    assert step == 5
    torch.testing.assert_close(average["first.weight"], expected)


def test_validation_and_samples_see_the_average_when_they_are_due(tmp_path: Path) -> None:
    seen: list[tuple[str, int, Tensor]] = []

    def validation(average: NetworkPrior) -> float:
        seen.append(("validation", 0, weights(average)[0]))
        return 0.25

    def samples(average: NetworkPrior, step: int) -> None:
        seen.append(("samples", step, weights(average)[0]))

    plan = replace(PLAN, steps=5, validate_every=2, sample_every=4)
    reports = run(prior(), tmp_path, plan, Hooks(validation, samples))
    assert [r.validation for r in reports] == [None, 0.25, None, 0.25, 0.25]
    assert [(what, step) for what, step, _ in seen if what == "samples"] == [
        ("samples", 4), ("samples", 5),
    ]  # fmt: skip
    assert torch.equal(seen[-1][2], averaged_weights(tmp_path)[1]["first.weight"])
    lines = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert [(line["step"], line["validation"]) for line in lines] == [
        (2, 0.25),
        (4, 0.25),
        (5, 0.25),
    ]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    def broken(generator: torch.Generator, part: slice) -> Tensor:
        return stripes(generator, part) * float("nan")

    with pytest.raises(MedscoreError, match="loss is nan at step 1"):
        list(train_steps(prior(), broken, OBJECTIVE, PLAN, tmp_path))


class Wild(nn.Module):
    """A network with finite output whose gradient is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, u: Tensor, log_s: Tensor) -> Tensor:
        return u * torch.sqrt(self.weight.abs())


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change(
    tmp_path: Path,
) -> None:
    model = NetworkPrior(Wild(), VE(0.01, 10.0))
    with pytest.raises(MedscoreError, match="gradient's norm is nan at step 1"):
        list(train_steps(model, stripes, OBJECTIVE, PLAN, tmp_path))
    assert model.network.weight.item() == 0


def test_a_suddenly_large_gradient_is_reported(tmp_path: Path) -> None:
    def jump(model: object, x0: Tensor, u: Tensor, z: Tensor) -> Tensor:
        loss = OBJECTIVE(model, x0, u, z)  # type: ignore[arg-type]
        calls.append(1)
        return loss * (10 * SPIKE if len(calls) == 30 else 1)

    calls: list[int] = []
    reports = list(train_steps(prior(), stripes, jump, replace(PLAN, steps=40), tmp_path))
    assert [r.step for r in reports if r.warning] == [30]
    assert "the gradient's norm is" in reports[29].warning


def test_a_state_of_another_network_is_refused(tmp_path: Path) -> None:
    run(prior(), tmp_path, replace(PLAN, steps=2))
    other = NetworkPrior(nn.Conv2d(1, 1, 1), VE())
    with pytest.raises(MedscoreError, match="another network"):
        next(train_steps(other, stripes, OBJECTIVE, PLAN, tmp_path))


def test_a_state_of_another_run_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    run(prior(), tmp_path, replace(PLAN, steps=2), Hooks(identity={"seed": "3"}))
    with pytest.raises(MedscoreError, match="another run: seed 3, here 4"):
        run(prior(), tmp_path, PLAN, Hooks(identity={"seed": "4"}))


def test_a_damaged_state_is_refused_before_the_first_step_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes(b"no state")
    with pytest.raises(MedscoreError, match="not a training state"):
        train_steps(prior(), stripes, OBJECTIVE, PLAN, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("optimiser.0.exp_avg_sq", None, "a part of the optimiser's state is missing"),
        ("optimiser.0.exp_avg", torch.zeros(2), r"optimiser.0.exp_avg has shape \(2,\)"),
    ],
)
def test_a_state_whose_optimiser_is_incomplete_is_refused(
    tmp_path: Path, old: str, new: Tensor | None, why: str
) -> None:
    run(prior(), tmp_path, replace(PLAN, steps=2))
    path = tmp_path / "state.safetensors"
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del tensors[old]
    save_file(tensors | ({} if new is None else {old: new}), path, metadata=header)
    with pytest.raises(MedscoreError, match=why):
        train_steps(prior(), stripes, OBJECTIVE, PLAN, tmp_path)


@pytest.mark.parametrize("name", ["identity", "monitor"])
@pytest.mark.parametrize("text", ["[]", "3", "null", '{"losses": 3}', "{"])
def test_a_state_with_a_damaged_record_is_refused(tmp_path: Path, name: str, text: str) -> None:
    run(prior(), tmp_path, replace(PLAN, steps=2), Hooks(identity={"seed": "3"}))
    path = tmp_path / "state.safetensors"
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header | {name: text})
    with pytest.raises(MedscoreError, match=r"not a training state|another run"):
        run(prior(), tmp_path, PLAN, Hooks(identity={"seed": "3"}))


def test_a_state_beyond_the_last_step_is_refused(tmp_path: Path) -> None:
    run(prior(), tmp_path, replace(PLAN, steps=20))
    with pytest.raises(MedscoreError, match="of step 20, beyond the last step 10"):
        run(prior(), tmp_path, replace(PLAN, steps=10))


def test_prefetched_batches_are_the_same_in_the_same_order() -> None:
    def drawn(steps: int) -> Iterator[Draws]:
        return (draw(stripes, PLAN, step, slice(None)) for step in range(1, steps))

    for one, other in zip(drawn(6), prefetch(drawn(6)), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_error_in_a_prefetched_batch_is_raised() -> None:
    def broken(generator: torch.Generator, part: slice) -> Tensor:
        raise MedscoreError("no such slice", hint="none")

    with pytest.raises(MedscoreError, match="no such slice"):
        next(prefetch(draw(broken, PLAN, step, slice(None)) for step in (1, 2)))


def test_a_gradient_after_none_is_reported(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, {"losses": [], "mean_norm": 0.0})
    assert monitor.check(3, 0.5, 2.0) == (
        "step 3: the gradient's norm is 2, inf times its running mean"
    )
    assert monitor.check(4, 0.5, 0.1) == ""
