"""The objective of a search: its configuration, its data, and the score of given settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from medscore.datasets.collections.cohort import Case
from medscore.errors import MedscoreError
from medscore.evaluation import methods
from medscore.evaluation.cells import key_of
from medscore.evaluation.comparison import cohort as read, with_parameter, with_patterns
from medscore.evaluation.config import MethodSpec
from medscore.io.configs import config_path
from medscore.io.opening import file_sha256
from medscore.measurements.measurement import Measurement, read_measurement
from medscore.registry.noise import noise_std_of
from medscore.registry.presets import parse_parameters
from medscore.tuning.config import Score, TuningSpec, read_tuning
from medscore.tuning.held_out import held_out_score, split
from medscore.tuning.sure import sure_score


@dataclass(frozen=True)
class Search:
    """A search and its data; it can be sent to another process.

    Attributes:
        spec: the configuration.
        where: its file, for error messages.
        data: folder of the cohort's data.
        measurements: measurement files, instead of a cohort.
        score: score that is maximised.
        trials: number of settings to try.
        parameters: values of the parameters that stay fixed, by name.
    """

    spec: TuningSpec
    where: Path
    data: Path
    measurements: tuple[Path, ...]
    score: Score
    trials: int
    parameters: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        config: str | Path,
        data: Path,
        measurements: tuple[Path, ...],
        score: str | None,
        trials: int | None,
        parameters: Sequence[str] = (),
        patterns: Sequence[str] = (),
    ) -> Search:
        """A search from its configuration.

        Args:
            config: name of a shipped search, or a YAML file.
            data: folder of the cohort's data.
            measurements: measurement files, instead of a cohort.
            score: score that is maximised; by default the configuration's.
            trials: number of settings to try; by default the configuration's.
            parameters: parameters that stay fixed, "NAME=VALUE" each.
            patterns: patterns of the cohort's files; by default the configuration's.

        Raises:
            MedscoreError: an unknown score, or a score that needs references without a cohort.
        """
        config = config_path(config, "tune")
        spec = read_tuning(config)
        if patterns and spec.cohort is not None and not measurements:
            cohort = with_patterns(spec.cohort, patterns)
            spec = spec.model_copy(update={"cohort": cohort})
        elif patterns:
            raise MedscoreError(
                "`pattern` needs a cohort, and there is none", where=config, hint="leave it out"
            )
        known = get_args(Score)
        if score is not None and score not in known:
            raise MedscoreError(f"`score` {score!r}", hint=f"use one of: {', '.join(known)}")
        chosen = cast(Score, score or ("held-out" if measurements else spec.score))
        if measurements and chosen in ("psnr", "ssim"):
            raise MedscoreError(
                f"`score` {chosen} needs references, but measurement files have none",
                hint="use held-out or sure",
            )
        if not measurements and (spec.cohort is None or spec.task is None):
            raise MedscoreError(
                "cohort and task are missing", where=config,
                hint="set them, or pass a `measurement` file",
            )  # fmt: skip
        fixed = tuple(parse_parameters(parameters).items())
        return cls(spec, config, data, measurements, chosen, trials or spec.trials, fixed)

    @cached_property
    def name(self) -> str:
        """Name of the study, which depends on everything but the number of trials.

        Measurements count by their content, wherever their files lie.
        """
        fixed = self.spec.model_dump(mode="json", exclude={"trials"})
        files = [file_sha256(path) for path in self.measurements]
        own = [list(pair) for pair in self.parameters]
        return f"{self.spec.name}-{key_of(fixed, files, self.score, *([own] if own else []))[:8]}"

    def fixed_method(self) -> MethodSpec:
        """The method with the parameters that stay fixed."""
        method = self.spec.method
        for key, value in self.parameters:
            method = with_parameter(method, key, value)
        return method

    def objective(self) -> Callable[[dict[str, Any]], float]:
        """A function that maps settings to their score, the mean over slices.

        Raises:
            MedscoreError: invalid data, an invalid task or an invalid method.
        """
        found = list(self._measured())
        middle = {name: r.values[0] if r.values else r.low for name, r in self.spec.search.items()}
        for _, m in found:
            methods.verify(self._with(middle), "", m, self.where)
            if self.score == "held-out":
                split(m)
            if self.score == "sure" and noise_std_of("recorded", m, self.where) is None:
                raise MedscoreError(
                    "SURE needs noisy measurements, these are noise-free", where=self.where,
                    hint="use `score` held-out",
                )  # fmt: skip

        def score(settings: dict[str, Any]) -> float:
            method = self._with(settings)
            return float(np.mean([self._one(method, case, m) for case, m in found]))

        return score

    def _with(self, settings: dict[str, Any]) -> MethodSpec:
        """The method with given settings, in float32 for the finite differences of SURE."""
        method = self.fixed_method()
        extra = {"precision": "float32"} if self.score == "sure" and method.prior else {}
        name = self.spec.task.name if self.spec.task is not None else ""
        own = {**method.at.get(name, {}), **settings, **extra}
        return method.model_copy(update={"at": {"": own}})

    def _measured(self) -> list[tuple[Case | None, Measurement]]:
        if self.measurements:
            return [(None, read_measurement(path)) for path in self.measurements]
        cohort, task = self.spec.cohort, self.spec.task
        assert cohort is not None
        assert task is not None
        cases = read(cohort, self.data, [task])
        return [
            (case, methods.measure(case, task, number + self.spec.seed * 1_000_003, self.where))
            for number, case in enumerate(cases)
        ]

    def _one(self, method: MethodSpec, case: Case | None, m: Measurement) -> float:
        solve = methods.solver(method, "")
        if self.score == "held-out":
            return held_out_score(solve, m, folds=range(self.spec.folds))
        if self.score == "sure":
            std = noise_std_of("recorded", m, self.where)
            return sure_score(solve, m, std, seed=self.spec.seed)
        assert case is not None
        assert self.spec.task is not None
        quality = methods.judge(
            solve(m).mean,
            case.volume.values,
            self.spec.metric,
            methods.metal_of(case, self.spec.task),
        )
        return quality.psnr if self.score == "psnr" else quality.ssim
