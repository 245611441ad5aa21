"""The sampling loop does not depend on batching, resumes at any step, and detects divergence."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medscore.engine import loop
from medscore.engine.items import Item, ItemFolder
from medscore.engine.job import Batch, Job
from medscore.engine.loop import Samples, StepInfo, run
from medscore.errors import MedscoreError
from medscore.priors.analytic import GaussianPrior
from medscore.priors.base import Prior
from medscore.samplers.base import Memory, Sampler
from medscore.samplers.dpm_solver_pp import DPMSolverPP2M
from medscore.samplers.grids import uniform
from medscore.samplers.langevin import LangevinCorrector
from medscore.samplers.predictor_corrector import PredictorCorrector
from medscore.samplers.reverse_diffusion import ReverseDiffusion
from medscore.sdes.linear import VE
from medscore.white_noise import Noise

SDE = VE(0.01, 10.0)
PRIOR = GaussianPrior(SDE, torch.full((4,), 0.3), torch.diag(torch.tensor([0.2, 0.1, 0.3, 0.2])))
PC = PredictorCorrector(ReverseDiffusion(), LangevinCorrector(0.1))


class Momentum(Sampler):
    """A sampler with memory, to prove that memory survives a resume."""

    def init(self, x: Tensor) -> Memory:
        return {"last": torch.zeros_like(x)}

    def step(
        self, prior: Prior, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> tuple[Tensor, Memory]:
        ahead, _ = ReverseDiffusion().step(prior, x, t, s, noise, {})
        return ahead + 0.1 * memory["last"], {"last": ahead - x}


def job(sampler: Sampler = PC, **changes: object) -> Job:
    base = Job(
        seeds=list(range(5)),
        shape=(1, 2, 2),
        times=uniform(SDE, 30),
        batches=lambda items: Batch(PRIOR, sampler, residual=lambda x: x.flatten(1).norm(dim=1)),
        batch_size=2,
        save_every=4,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


class Interrupt:
    """Raises Ctrl-C at the n-th step."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, info: StepInfo) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupted(unfinished: Job, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(unfinished, Interrupt(at))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_results_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    torch.testing.assert_close(run(job(batch_size=batch_size)).x, run(job()).x)


def test_the_same_seeds_give_the_same_bits() -> None:
    assert torch.equal(run(job()).x, run(job()).x)
    assert not torch.equal(run(job()).x, run(job(seeds=list(range(1, 6)))).x)


@pytest.mark.parametrize("at", [1, 3, 4, 29, 30, 31, 60, 75, 90])
@pytest.mark.parametrize(
    "sampler",
    [PC, Momentum(), DPMSolverPP2M(), PredictorCorrector(DPMSolverPP2M(), LangevinCorrector(0.1))],
    ids=["pc", "with memory", "multistep", "pc of a multistep predictor"],
)
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, sampler: Sampler, at: int) -> None:
    whole = run(job(sampler))
    state = tmp_path / "state"
    interrupted(job(sampler, state=state), at)
    assert state.exists()
    resumed = run(job(sampler, state=state))
    assert torch.equal(resumed.x, whole.x)
    assert (resumed.nfe, resumed.history) == (whole.nfe, whole.history)
    assert state.exists()  # until the results are written
    again = run(job(sampler, state=state), lambda info: pytest.fail("steps again"))
    assert torch.equal(again.x, whole.x)


def test_a_resumed_run_does_not_repeat_steps(tmp_path: Path) -> None:
    state, steps = tmp_path / "state", []
    interrupted(job(state=state), 40)
    run(job(state=state), lambda info: steps.append(info.done))
    assert steps == list(range(41, 91))


@pytest.mark.parametrize(("seconds", "first"), [(1e9, 21), (-1.0, 23)])
def test_a_killed_run_loses_at_most_the_last_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, first: int
) -> None:
    """The state cannot be saved at the end, so only the periodic saves remain: those of every
    fourth step, or those after a time, here after every step."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", seconds)

    class Killed(BaseException):
        pass

    def die(info: StepInfo) -> None:
        if info.done == 23:
            raise Killed

    state, steps = tmp_path / "state", []
    with pytest.raises(Killed):
        run(job(state=state), die)
    resumed = run(job(state=state), lambda info: steps.append(info.done))
    assert torch.equal(resumed.x, run(job()).x)
    assert steps[0] == first


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    interrupted(job(state=state, fingerprint="a"), 5)
    with pytest.raises(MedscoreError, match="another run, with other settings"):
        run(job(state=state, fingerprint="b"))


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "0000000.safetensors").write_bytes(b"not a state")
    with pytest.raises(MedscoreError, match="cannot be read"):
        run(job(state=state))


@pytest.mark.parametrize(
    "change",
    [
        lambda record, tensors: record.pop("step"),
        lambda record, tensors: record.update(step="x"),
        lambda record, tensors: record.update(step=0),
        lambda record, tensors: record.update(step=1000),
        lambda record, tensors: record.update(batch=1),
        lambda record, tensors: record.pop("history"),
        lambda record, tensors: record.update(history=None),
        lambda record, tensors: record.update(history=[{"a": 1}]),
        lambda record, tensors: record.pop("calls"),
        lambda record, tensors: tensors.pop("noise"),
        lambda record, tensors: tensors.update(noise=tensors["noise"][:, :-1].clone()),
        lambda record, tensors: tensors["noise"].fill_(255),
        lambda record, tensors: tensors.update(x=tensors["x"][:1].clone()),
        lambda record, tensors: tensors.update(x=tensors["x"][..., None].clone()),
        lambda record, tensors: tensors.pop("x"),
    ],
)
def test_a_state_with_something_missing_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], object]
) -> None:
    folder = ItemFolder(tmp_path / "state", "")
    interrupted(job(state=folder.path), 5)
    point = folder.load_point()
    assert point is not None
    change(point.record, point.tensors)
    folder.save_point(point)
    with pytest.raises(MedscoreError, match=r"state: the saved state"):
        run(job(state=folder.path))


def test_a_finished_batch_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder = ItemFolder(tmp_path / "state", "")
    interrupted(job(state=folder.path), 35)
    (batch,) = folder.load()
    folder.save(0, Item(batch.record, {"x": batch.tensors["x"][:, :, :1]}))
    with pytest.raises(MedscoreError, match=r"state: the saved state does not fit"):
        run(job(state=folder.path))


@pytest.mark.parametrize("at", [3, 29, 30, 31, 75])
def test_operator_calls_are_counted_over_all_parts(tmp_path: Path, at: int) -> None:
    """Those of the preparation of a batch, which a resumed run repeats, count once."""
    calls = [0]

    def batches(items: Sequence[int]) -> Batch:
        def residual(x: Tensor) -> Tensor:
            calls[0] += 1
            return x.flatten(1).norm(dim=1)

        calls[0] += 10
        return Batch(PRIOR, PC, residual=residual)

    counted = job(batches=batches, calls=lambda: calls[0])
    whole = run(counted)
    assert whole.calls == 3 * (10 + 7)
    interrupted(replace(counted, state=tmp_path / "state"), at)
    calls[0] = 1000  # whatever the next process has counted
    resumed = run(replace(counted, state=tmp_path / "state"))
    assert resumed.calls == whole.calls
    assert resumed.seconds > 0


def test_a_finished_batch_is_written_once(tmp_path: Path) -> None:
    state, times = tmp_path / "state", []

    def note(info: StepInfo) -> None:
        files = sorted(state.glob("0*")) if state.exists() else []
        times.append([file.stat().st_mtime_ns for file in files])

    run(job(state=state), note)
    assert [len(times[i]) for i in (0, 30, 60)] == [0, 1, 2]
    assert times[89][:1] == times[30]


class Exploding(Sampler):
    """A sampler that multiplies the state by a factor in every step."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def step(
        self, prior: Prior, x: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: Memory
    ) -> tuple[Tensor, Memory]:
        return x * self.factor, memory


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 5.0])
def test_divergence_stops_with_the_step_and_the_residual(factor: float) -> None:
    with pytest.raises(MedscoreError, match=r"sample \d has root mean square .* after step \d+"):
        run(job(Exploding(factor)))
    with pytest.raises(MedscoreError, match="last residual"):
        run(job(Exploding(1.3)))


def test_nfe_counts_each_evaluation_of_a_sample_and_the_final_denoise() -> None:
    assert run(job()).nfe == 2 * 30 + 1


def test_predictor_corrector_keeps_its_predictors_memory() -> None:
    """With an idle corrector, the result is that of the multistep predictor of second order."""
    still = PredictorCorrector(DPMSolverPP2M(), Exploding(1.0))
    torch.testing.assert_close(run(job(still)).x, run(job(DPMSolverPP2M())).x)


def test_without_the_final_denoise_the_state_at_eps_is_returned() -> None:
    raw, finished = run(job(denoise=False)), run(job())
    assert raw.nfe == finished.nfe - 1
    t = torch.full((5,), SDE.eps)
    torch.testing.assert_close(PRIOR.denoise(raw.x, t), finished.x)


def test_the_history_holds_the_residual_at_each_save() -> None:
    result: Samples = run(job())
    assert [(r.batch, r.step) for r in result.history[:3]] == [(0, 4), (0, 8), (0, 12)]
    assert all(r.value > 0 for r in result.history)


def test_finish_gets_the_denoised_images_of_its_items() -> None:
    seen: list[tuple[list[int], Tensor]] = []

    def pair(items: Sequence[int]) -> Batch:
        def finish(x: Tensor) -> Tensor:
            seen.append((list(items), x))
            return x + torch.tensor(items, dtype=x.dtype)[:, None, None, None] * 100

        return Batch(PRIOR, PC, finish=finish)

    x = run(job(batches=pair)).x
    assert [items for items, _ in seen] == [[0, 1], [2, 3], [4]]
    assert [round(float(v) / 100) for v in x.flatten(1).mean(1)] == [0, 1, 2, 3, 4]
