"""What the benchmarks print: a measured number beside what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A measured number and what is asked of it; ``None`` where nothing is."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the bounds hold."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def asked(self) -> str:
        """The bounds in words; empty where there are none."""
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    def __str__(self) -> str:
        verdict = ("ok" if self.met else "MISSED") if self.asked else ""
        return f"{self.name:<62} {self.value:>9.5g} {self.unit:<4} {self.asked:<8} {verdict}"


def table(numbers: list[Number]) -> list[str]:
    """The numbers as a Markdown table, with what is asked and whether it is met."""
    lines = ["| number | measured | asked | met |", "| --- | --- | --- | --- |"]
    for n in numbers:
        verdict = ("yes" if n.met else "**no**") if n.asked else ""
        value = f"{n.value:.4g} {n.unit}".rstrip()
        lines.append(f"| {n.name} | {value} | {n.asked} | {verdict} |")
    return lines
