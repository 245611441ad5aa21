"""ISMRMRD acquisitions: which are lines of the image, where they go, and what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medscore.datasets.raw.acquisitions import NOT_IMAGE, select_lines
from medscore.datasets.raw.encoding import Encoding
from medscore.datasets.raw.placement import Placed, place
from medscore.errors import MedscoreError

ismrmrd = pytest.importorskip("ismrmrd")

NY, NX, COILS = 32, 16, 2
WHERE = Path("scan.h5")
REVERSE, SEPARATE, BOTH = 22, 20, 21
Make = Callable[..., Any]


@pytest.fixture
def kspace() -> NDArray[np.complex64]:
    """(coil, ky, kx) with its echo in the middle."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, COILS, NY, NX))
    y, x = np.mgrid[-NY // 2 : NY // 2, -NX // 2 : NX // 2]
    peak = 100 * np.exp(-(y**2 + x**2) / 8)
    return (noise[0] + 1j * noise[1] + peak).astype(np.complex64)


def line(
    data: NDArray[Any],
    step: int,
    flags: Sequence[int] = (),
    centre: int | None = None,
    space: int = 0,
    pre: int = 0,
    post: int = 0,
    **counters: int,
) -> Any:
    """An acquisition of (coil, samples)."""
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, dtype=np.complex64))
    made.idx.kspace_encode_step_1 = step
    made.center_sample = data.shape[1] // 2 if centre is None else centre
    made.encoding_space_ref, made.discard_pre, made.discard_post = space, pre, post
    for name, value in counters.items():
        setattr(made.idx, name, value)
    for flag in flags:
        made.set_flag(flag)
    return made


def lines(kspace: NDArray[Any], steps: Sequence[int] = range(NX), **more: Any) -> list[Any]:
    return [line(kspace[:, :, step], step, **more) for step in steps]


def placed(
    acquisitions: list[Any],
    select: dict[str, int] | None = None,
    *,
    first: bool = False,
    calibration: str = "",
) -> tuple[Placed, tuple[str, ...]]:
    three = (1.0, 1.0, 1.0)
    encoding = Encoding("cartesian", (NY, NX, 1), (NY, NX, 1), three, three, NX // 2, calibration)
    found = select_lines(acquisitions, select, WHERE, first=first)
    made = place(found, encoding, WHERE)
    return made, (*found.notes, *made.notes)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("flags", [*[(n,) for n in NOT_IMAGE], (29,), (19, 29), (23, 28), (24, 22)])
def test_what_is_no_image_line_leaves_the_image_alone(
    kspace: NDArray[Any], flags: tuple[int, ...], order: int
) -> None:
    other = lines(3 * np.exp(1j) * kspace, range(4, 9), flags=flags)
    both = [*other, *lines(kspace)][::order]
    made, notes = placed(both)
    np.testing.assert_array_equal(made.kspace[0], kspace)
    noise = flags[0] == 19  # of which prewhitening tells
    assert any("left out: 5 " in note for note in notes) is not noise


def test_every_flag_of_the_standard_is_known() -> None:
    """The names in the package are those of ISMRMRD_AcquisitionFlags in ismrmrd.h."""
    named = {name: n for name, n in vars(ismrmrd).items() if name.startswith("ACQ_IS_")}
    image = {"ACQ_IS_REVERSE", "ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING"}
    others = {"ACQ_IS_PARALLEL_CALIBRATION", "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA"}
    assert {named[name] for name in set(named) - image - others} == set(NOT_IMAGE)


@pytest.mark.parametrize("flags", [(BOTH,), (BOTH, SEPARATE), (57,)])
def test_embedded_calibration_lines_are_image_lines(
    kspace: NDArray[Any], flags: tuple[int, ...]
) -> None:
    made, _ = placed([*lines(kspace, range(8)), *lines(kspace, range(8, NX), flags=flags)])
    np.testing.assert_array_equal(made.kspace[0], kspace)


def test_a_flag_on_every_line_separates_nothing(kspace: NDArray[Any]) -> None:
    """Converters set the flag of surface coil correction for lines to be rescaled by coil, too."""
    made, notes = placed(lines(kspace, flags=(29,)))
    np.testing.assert_array_equal(made.kspace[0], kspace)
    assert notes == ()


@pytest.mark.parametrize("mode", ["", "embedded", "separate"])
def test_separate_calibration_lines_fill_holes_and_are_not_averaged(
    kspace: NDArray[Any], mode: str
) -> None:
    """They agree with the image lines within their own noise, of one percent here."""
    again = kspace * 1.01
    made, notes = placed(
        [*lines(again, range(4, 12), flags=(SEPARATE,)), *lines(kspace, range(0, NX, 2))],
        calibration=mode,
    )
    expected = np.zeros_like(kspace)
    expected[..., 4:12] = again[..., 4:12]
    expected[..., ::2] = kspace[..., ::2]
    np.testing.assert_array_equal(made.kspace[0], expected)
    np.testing.assert_array_equal(made.sampled[0].all(0), expected.any((0, 1)))
    assert "fill 4 unmeasured" in notes[0]


@pytest.mark.parametrize("mode", ["", "embedded", "separate"])
def test_calibration_lines_of_another_scan_are_left_out(kspace: NDArray[Any], mode: str) -> None:
    other = lines(3 * np.exp(1j) * kspace, range(4, 12), flags=(SEPARATE,))
    made, notes = placed([*other, *lines(kspace, range(0, NX, 2))], calibration=mode)
    assert not made.sampled[..., 1::2].any()
    np.testing.assert_array_equal(made.kspace[0][..., ::2], kspace[..., ::2])
    assert "differ" in notes[0]


def test_the_header_tells_that_calibration_is_another_scan(kspace: NDArray[Any]) -> None:
    """Here no line was measured by both."""
    both = [*lines(kspace, [5, 7], flags=(SEPARATE,)), *lines(kspace, range(0, NX, 2))]
    assert placed(both)[0].sampled[0, 0, [5, 7]].all()
    made, notes = placed(both, calibration="separate")
    assert not made.sampled[0, 0, [5, 7]].any()
    assert "the header states" in notes[0]


@pytest.mark.parametrize("flags", [(), (SEPARATE,)])
def test_other_encoding_spaces_are_left_out(kspace: NDArray[Any], flags: tuple[int, ...]) -> None:
    small = [line(5 * kspace[:, 8:24, s], s, flags, space=1) for s in range(4, 9)]
    made, notes = placed([*small, *lines(kspace)])
    np.testing.assert_array_equal(made.kspace[0], kspace)
    assert "left out: 5 " in notes[0]


def test_an_encoding_space_can_be_selected(kspace: NDArray[Any]) -> None:
    both = [*lines(5 * kspace, space=1), *lines(kspace)]
    made, _ = placed(both, {"encoding": 1})
    np.testing.assert_array_equal(made.kspace[0], 5 * kspace)
    with pytest.raises(MedscoreError, match="encoding=2, the image lines have 0, 1"):
        placed(both, {"encoding": 2})


@pytest.mark.parametrize("name", ["contrast", "phase", "set", "repetition", "segment"])
def test_different_images_are_selected_or_refused(kspace: NDArray[Any], name: str) -> None:
    both = [*lines(-kspace, **{name: 1}), *lines(kspace)]
    with pytest.raises(MedscoreError, match=rf"2 {name}s \(0, 1\).*such as {name}=0"):
        placed(both)
    for value, sign in ((0, 1), (1, -1)):
        made, _ = placed(both, {name: value})
        np.testing.assert_array_equal(made.kspace[0], sign * kspace)
    made, notes = placed(both, first=True)
    np.testing.assert_array_equal(made.kspace[0], kspace)
    assert "needs `select`" in notes[0]
    with pytest.raises(MedscoreError, match=f"{name}=2, the image lines have 0, 1"):
        placed(both, {name: 2})


def test_segments_that_share_no_line_are_one_image(kspace: NDArray[Any]) -> None:
    made, _ = placed([line(kspace[:, :, s], s, segment=s % 4) for s in range(NX)])
    np.testing.assert_array_equal(made.kspace[0], kspace)


def test_averages_are_averaged(kspace: NDArray[Any]) -> None:
    made, notes = placed([*lines(kspace - 3, average=0), *lines(kspace + 3, average=1)])
    np.testing.assert_allclose(made.kspace[0], kspace, atol=1e-5)
    assert "averaged" in notes[0]


def backwards(kspace: NDArray[Any], *, centre: int, keep: slice, **more: Any) -> list[Any]:
    """Every second line in reverse; both kinds keep the same part of the readout."""
    made = []
    for step in range(NX):
        data = kspace[:, keep, step]
        if step % 2:
            made.append(line(data[:, ::-1], step, (REVERSE,), centre, **more))
        else:
            made.append(line(data, step, centre=NY // 2 - (keep.start or 0)))
    return made


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("start", [0, 10])
def test_reversed_lines_are_turned_round(kspace: NDArray[Any], start: int, late: int) -> None:
    """Whether their centre is counted by the standard or, as some converters do, one later."""
    centre = NY // 2 - 1 + late
    made, _ = placed(backwards(kspace, centre=centre, keep=slice(start, NY)))
    np.testing.assert_array_equal(made.kspace[0, :, start:], kspace[:, start:])
    assert not made.sampled[0, :start].any()
    assert made.sampled[0, start:].all()


def test_reversed_lines_with_samples_to_discard(kspace: NDArray[Any]) -> None:
    """Three samples at the beginning and one at the end of the readout, in its own order."""
    made = []
    for step in range(NX):
        data = np.pad(kspace[:, ::-1, step], ((0, 0), (3, 1)), constant_values=99)
        made.append(line(data, step, (REVERSE,), NY // 2 - 1 + 3, pre=3, post=1))
    np.testing.assert_array_equal(placed(made)[0].kspace[0], kspace)


def test_a_centre_that_contradicts_the_echo_is_refused(kspace: NDArray[Any]) -> None:
    """The centre is that of the readout in the other direction."""
    wrong = backwards(kspace, centre=NY // 2 - 10, keep=slice(10, NY))
    with pytest.raises(MedscoreError, match="have their echo at sample"):
        placed(wrong)


@pytest.mark.parametrize("reversed_", [True, False])
def test_phase_correction_is_refused_where_it_is_required(
    kspace: NDArray[Any], reversed_: bool
) -> None:
    scans = lines(kspace, [8], flags=(24,))
    if not reversed_:
        made, _ = placed([*scans, *lines(kspace)])
        np.testing.assert_array_equal(made.kspace[0], kspace)
        return
    with pytest.raises(
        MedscoreError, match=r"8 of 16 lines were read in reverse.*phase correction"
    ):
        placed([*scans, *backwards(kspace, centre=NY // 2 - 1, keep=slice(0, NY))])


@pytest.mark.parametrize(
    ("start", "stop", "pre", "post"), [(10, NY, 0, 0), (0, 24, 0, 0), (6, 30, 2, 3), (0, NY, 0, 0)]
)
def test_the_centre_of_partial_readouts_is_at_its_place(
    kspace: NDArray[Any], start: int, stop: int, pre: int, post: int
) -> None:
    both = [
        line(
            np.pad(kspace[:, start:stop, s], ((0, 0), (pre, post)), constant_values=99),
            s,
            centre=NY // 2 - start + pre,
            pre=pre,
            post=post,
        )
        for s in range(NX)
    ]
    made, _ = placed(both)
    expected = np.zeros_like(kspace)
    expected[:, start:stop] = kspace[:, start:stop]
    np.testing.assert_array_equal(made.kspace[0], expected)
    np.testing.assert_array_equal(made.sampled[0], expected.any(0))


def test_partial_fourier_and_measured_zeros(kspace: NDArray[Any]) -> None:
    """A zero sample inside a line was measured; a line of zeros was not."""
    kspace[:, 5, 9] = 0
    kspace[:, :, 3] = 0
    made, _ = placed(lines(kspace, range(3, NX)))
    assert made.sampled[0, 5, 9]
    assert not made.sampled[0, :, :4].any()
    assert made.sampled[0, :, 4:].all()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda k: lines(k, flags=(19,)), "no image lines, only 16 noise"),
        (lambda k: [line(k[:, :, 0], 0), line(k[:1, :, 1], 1)], "1, 2 coils"),
        (lambda k: [*lines(k), line(k[:1, :, 1], 1, (SEPARATE,))], "calibration line has 1 coils"),
        (lambda k: lines(k, flags=(53,)), "compressed"),
        (lambda k: [line(k[:, :, s], s, kspace_encode_step_2=s % 2) for s in range(NX)], "2 part"),
        (lambda k: [line(k[:, :, 0], NX)], "outside the encoded"),
        (lambda k: [line(k[:, :, 0], 0, centre=0)], "outside the encoded"),
        (lambda k: [line(k[:, :, 0], 0, pre=20, post=20)], "outside the encoded"),
        (lambda k: lines(k * np.nan), "NaN"),
    ],
)
def test_refuses(kspace: NDArray[Any], wrong: Make, why: str) -> None:
    with pytest.raises(MedscoreError, match=why):
        placed(wrong(kspace))
