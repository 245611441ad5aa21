"""Swapped and uncentred axes of k-space are refused; true scans and noise are not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coil_scan import scan
from hypothesis import given, strategies as st
from numpy.typing import NDArray

from medscore.datasets.raw.kspace_arrays import read_array
from medscore.datasets.raw.kspace_axes import check_axes
from medscore.datasets.raw.kspace_layout import checked_layout
from medscore.errors import MedscoreError

WHERE = Path("k.npy")


def kspace(slices: int = 9, coils: int = 8) -> NDArray[np.complex64]:
    """Slices of a phantom whose size falls towards the ends, in coils, undersampled."""
    one = scan()[0][0].numpy()
    coil = np.concatenate([one, one.conj()])[:coils]
    sizes = 0.5 + 0.5 * np.hanning(slices + 2)[1:-1]
    found: NDArray[np.complex64] = (sizes[:, None, None, None] * coil).astype(np.complex64)
    return found


@pytest.mark.parametrize("slices", [1, 3, 9, 30])
@pytest.mark.parametrize("coils", [1, 8, 12])
def test_true_scans_pass(slices: int, coils: int) -> None:
    check_axes(kspace(slices, coils), WHERE, "")


@pytest.mark.parametrize("kept", [0.55, 0.625, 0.75])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("axis", [-1, -2])
def test_partial_kspace_passes(kept: float, first: bool, padded: bool, axis: int) -> None:
    whole = np.moveaxis(kspace(), axis, -1)
    count = round(kept * whole.shape[-1])
    part = whole[..., :count] if first else whole[..., -count:]
    if padded:
        zeros = np.zeros((*whole.shape[:-1], whole.shape[-1] - count), whole.dtype)
        part = np.concatenate([part, zeros] if first else [zeros, part], axis=-1)
    check_axes(np.moveaxis(part, -1, axis), WHERE, "")


@given(seed=st.integers(0, 2**31), shape=st.tuples(*[st.integers(1, 20)] * 4))
def test_noise_is_not_judged(seed: int, shape: tuple[int, ...]) -> None:
    """Of noise, no half of 8 samples or more holds 88 % of the energy."""
    shape = shape[0], shape[1], max(8, shape[2]), max(8, shape[3])
    noise = np.random.default_rng(seed).normal(size=(*shape, 2)).astype(np.float32)
    check_axes(noise.view(np.complex64)[..., 0], WHERE, "")


@pytest.mark.parametrize("other", [0, 1])
@pytest.mark.parametrize("spatial", [2, 3])
def test_a_coil_or_slice_axis_read_as_one_of_kspace_is_refused(other: int, spatial: int) -> None:
    names = ("slice", "coil", "readout", "phase")
    swapped = kspace().swapaxes(other, spatial)
    with pytest.raises(MedscoreError) as error:
        check_axes(swapped, WHERE, "name the axes")
    text = str(error.value)
    assert f"in the middle of the {names[other]} axis" in text
    assert f"not of the {names[spatial]} axis" in text
    assert text.endswith("as if both were swapped - name the axes")


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
def test_the_order_of_a_plain_fourier_transform_is_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(MedscoreError, match=r"at both ends of the (readout|phase) axis.*fftshift"):
        check_axes(np.fft.ifftshift(kspace(), axes), WHERE, "")


@pytest.mark.parametrize(
    ("change", "layout", "why"),
    [
        (lambda k: k[0].transpose(1, 2, 0), {}, "in the middle of the coil axis"),
        (lambda k: k[0].transpose(1, 2, 0), {"axes": ["readout", "phase", "coil"]}, None),
        (lambda k: np.fft.ifftshift(k), {}, "at both ends of the readout axis"),
        (lambda k: k, {}, None),
    ],
)
def test_files_of_arrays_are_checked(
    tmp_path: Path, change: Any, layout: dict[str, Any], why: str | None
) -> None:
    np.save(tmp_path / "k.npy", change(kspace()))
    told = checked_layout({"spacing": 1.0, **layout}, "k.yaml")
    if why is None:
        assert read_array(tmp_path / "k.npy", layout=told).kspace.shape[-2:] == (64, 64)
        return
    with pytest.raises(MedscoreError, match=rf"k\.npy: .*{why}"):
        read_array(tmp_path / "k.npy", layout=told)


def test_extreme_values_do_not_change_the_judgement() -> None:
    for scale in (1e-30, 1e28):
        check_axes(kspace() * np.complex64(scale), WHERE, "")
        with pytest.raises(MedscoreError, match="swapped"):
            check_axes((kspace() * np.complex64(scale)).swapaxes(1, 2), WHERE, "")
