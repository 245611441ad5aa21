"""Rows, tables and losses agree with the cells."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from medscore.evaluation.cells import Cell
from medscore.evaluation.figures import plot
from medscore.evaluation.table import (
    gap_table,
    losses,
    rows_of,
    slices_csv,
    table_csv,
    wide_table,
)
from medscore.metrics.image_quality import CT_CONVENTION, Quality

RNG = np.random.default_rng(0)
FBP, TV, OURS = (RNG.normal(mean, 0.5, 6) for mean in (25, 32, 35))


def cells(task: str = "23 views", gain: float = 0.0) -> list[Cell]:
    def one(method: str, i: int, **values: float) -> Cell:
        return Cell(
            task=task, method=method, case=f"s{i}", patient=f"p{i // 2}",
            qualities={name: Quality(v + gain, v / 40, 0.01) for name, v in values.items()},
            nfe=50 if method == "ours" else 0, operator_calls=3, residual=1e-4, seconds=float(i),
        )  # fmt: skip

    return [
        *(one("FBP", i, FBP=float(v)) for i, v in enumerate(FBP)),
        *(one("TV", i, TV=float(v)) for i, v in enumerate(TV)),
        *(one("ours", i, ours=float(v), **{"ours, one sample": v - 1.0})
          for i, v in enumerate(OURS)),
    ]  # fmt: skip


def test_rows_are_the_methods_and_single_samples_of_every_task() -> None:
    rows = rows_of(cells() + cells("45 views"))
    assert [(r.task, r.name) for r in rows] == [
        (task, name)
        for task in ("23 views", "45 views")
        for name in ("FBP", "TV", "ours", "ours, one sample")
    ]


def test_the_csv_holds_means_and_deviations_over_slices() -> None:
    rows = {r["method"]: r for r in csv.DictReader(io.StringIO(
        table_csv(rows_of(cells()), CT_CONVENTION, "target")))}  # fmt: skip
    assert float(rows["TV"]["psnr_mean"]) == pytest.approx(TV.mean(), rel=1e-5)
    assert float(rows["TV"]["psnr_std"]) == pytest.approx(TV.std(ddof=1), rel=1e-5)
    low, high = float(rows["TV"]["psnr_low95"]), float(rows["TV"]["psnr_high95"])
    assert low < TV.mean() < high
    assert (rows["ours"]["nfe"], rows["ours"]["count"]) == ("50", "6")


def test_no_csv_depends_on_how_long_anything_took() -> None:
    slow = [Cell(**{**c.__dict__, "seconds": 99.0}) for c in cells()]
    a, b = rows_of(cells()), rows_of(slow)
    assert table_csv(a, CT_CONVENTION, "t") == table_csv(b, CT_CONVENTION, "t")
    assert slices_csv(a) == slices_csv(b)


def test_slices_have_a_line_each() -> None:
    lines = list(csv.DictReader(io.StringIO(slices_csv(rows_of(cells())))))
    assert len(lines) == 24
    assert float(lines[0]["psnr"]) == pytest.approx(FBP[0], rel=1e-5)


def test_the_best_mean_of_a_column_is_bold() -> None:
    text = "\n".join(wide_table(rows_of(cells())))
    assert text.count("**") == 4
    assert f"**{OURS.mean():.2f} ± {OURS.std(ddof=1):.2f}**" in text


def test_differences_are_of_the_same_slices() -> None:
    rows = rows_of(cells())
    shuffled = [*rows[:1], type(rows[1])(rows[1].task, "TV", rows[1].cells[::-1]), *rows[2:]]
    lines = gap_table(shuffled, "ours")
    assert gap_table(rows, "ours") == lines
    gaps = OURS - TV
    assert f"{gaps.mean():+.2f} [" in next(line for line in lines if "| TV |" in line)


def test_losses_name_every_metric_where_another_is_as_good() -> None:
    assert losses(rows_of(cells()), "ours") == []
    (first, second) = losses(rows_of(cells()), "TV")[:2]
    assert first.startswith("23 views: ours has PSNR (dB) higher by")
    assert second.startswith("23 views: ours has SSIM higher by")


def test_one_of_our_own_samples_is_no_rival() -> None:
    """A single sample of our method that is better than its mean does not count as a loss."""
    top = {"ours, one sample": Quality(99.0, 1.0, 0.0)}
    better = [
        Cell(**{**c.__dict__, "qualities": c.qualities | top}) if c.method == "ours" else c
        for c in cells()
    ]
    assert losses(rows_of(better), "ours") == []


@pytest.mark.parametrize("along", [None, {"23 views": 23.0, "45 views": 45.0}])
def test_a_plot_is_a_picture(along: dict[str, float] | None) -> None:
    rows = rows_of(cells() + cells("45 views", 3.0))
    png = plot(rows, "psnr", along=along, label="views")
    assert Image.open(io.BytesIO(png)).size == (840, 540)
