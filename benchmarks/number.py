"""What the benchmarks print: a measured number beside what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A measured number and what is asked of it; ``None`` where nothing is."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the bounds hold."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def asked(self) -> str:
        """The bound in words; empty where there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def __str__(self) -> str:
        verdict = ("ok" if self.met else "MISSED") if self.asked else ""
        return f"{self.name:<62} {self.value:>9.4g} {self.unit:<4} {self.asked:<8} {verdict}"
