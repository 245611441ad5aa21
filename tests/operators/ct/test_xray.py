"""X-ray physics against the tables of NIST and the lines of tungsten."""

import pytest
import torch

from medscore.operators.ct.xray import (
    MATERIALS,
    Spectrum,
    attenuation,
    monochromatic,
    tube_spectrum,
)

pytest.importorskip("spekpy")
pytest.importorskip("xraydb")

# NIST mass attenuation with coherent scattering in cm2/g (Hubbell and Seltzer, NISTIR 5632); bone
# is "Bone, Cortical (ICRU-44)"
NIST = {
    "water": {30.0: 0.3756, 50.0: 0.2269, 80.0: 0.1837},
    "bone": {50.0: 0.4242, 80.0: 0.2229, 100.0: 0.1855},
    "titanium": {80.0: 0.4052, 100.0: 0.2721},
    "iron": {80.0: 0.5952, 100.0: 0.3717},
    "copper": {60.0: 1.593, 80.0: 0.7630},
    "gold": {60.0: 4.528, 80.0: 2.185},
}


def weight_at(spectrum: Spectrum, energy: float) -> float:
    """Share of the photons in the bin that holds an energy."""
    nearest = min(range(len(spectrum.energies)), key=lambda i: abs(spectrum.energies[i] - energy))
    return spectrum.weights[nearest]


def mean(spectrum: Spectrum) -> float:
    return sum(e * w for e, w in zip(spectrum.energies, spectrum.weights, strict=True))


@pytest.mark.parametrize("material", NIST)
def test_attenuation_follows_nist_over_the_diagnostic_range(material: str) -> None:
    """The tables differ by 1 % at most: two compilations of the same cross-sections."""
    energies = tuple(NIST[material])
    expected = torch.tensor(list(NIST[material].values()), dtype=torch.float64)
    found = attenuation(material, energies)
    assert found.shape == (len(energies),)
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        found, expected * MATERIALS[material].density / 10, rtol=0.01, atol=0
    )


def test_attenuation_keeps_the_order_of_the_energies() -> None:
    forward, back = (
        attenuation("bone", [40.0, 60.0, 110.0]),
        attenuation("bone", [110.0, 60.0, 40.0]),
    )
    torch.testing.assert_close(forward, back.flip(0), rtol=0, atol=0)


def test_gold_stops_four_times_as_much_above_its_k_edge() -> None:
    """At 80.72 keV, from 2.137 to 8.904 cm2/g (NIST)."""
    below, above = attenuation("gold", [80.6, 80.9])
    assert float(above / below) == pytest.approx(8.904 / 2.137, rel=0.03)


def test_at_the_reference_energy_denser_metals_stop_more() -> None:
    order = ["water", "bone", "titanium", "iron", "copper", "gold"]
    at_70 = [float(attenuation(name, [70.0])) for name in order]
    assert at_70 == sorted(at_70)


def test_a_monochromatic_beam_is_one_energy() -> None:
    assert monochromatic(55.0) == Spectrum((55.0,), (1.0,))


def test_tungsten_shines_in_its_k_lines_only_above_its_k_edge() -> None:
    """K alpha at 58 to 59.3 keV, K edge at 69.5 keV."""
    above, below = tube_spectrum(120.0), tube_spectrum(66.0)
    background = (weight_at(above, 53.0) + weight_at(above, 63.0)) / 2
    assert weight_at(above, 59.0) > 1.5 * background
    assert weight_at(below, 59.0) < weight_at(below, 53.0)


@pytest.mark.parametrize("kvp", [80.0, 121.0])
def test_a_spectrum_is_shares_at_rising_energies_up_to_its_voltage(kvp: float) -> None:
    spectrum = tube_spectrum(kvp)
    assert sum(spectrum.weights) == pytest.approx(1)
    assert min(spectrum.weights) > 0
    assert list(spectrum.energies) == sorted(set(spectrum.energies))
    assert spectrum.energies[-1] <= kvp


def test_voltage_filter_and_step_do_what_they_say() -> None:
    usual, fine = tube_spectrum(), tube_spectrum(step=1.0)
    assert mean(tube_spectrum(80.0)) < mean(usual)
    assert mean(tube_spectrum(aluminium=3.0)) < mean(usual)
    assert len(fine.energies) == pytest.approx(2 * len(usual.energies), abs=3)
    assert mean(fine) == pytest.approx(mean(usual), rel=0.005)
    assert tube_spectrum(120.0, aluminium=6.0) == usual


@pytest.mark.parametrize(
    ("energies", "weights", "message"),
    [
        ((), (), "0 energies"),
        ((60.0, 70.0), (1.0,), "2 energies but 1 weights"),
        ((60.0,), (0.9,), "sum to 0.9"),
        ((60.0, 70.0), (1.5, -0.5), "expected shares"),
        ((0.0,), (1.0,), "an energy is 0.0 keV"),
    ],
)
def test_an_invalid_spectrum_is_refused(
    energies: tuple[float, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Spectrum(energies, weights)
