"""Costs along an axis: slopes in log-log with their fit, a table, and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from figures import quantity

ABOVE = 1.15
"""A slope that is more than linear."""


@dataclass(frozen=True)
class Cost:
    """What a stage of one point took."""

    seconds: float
    """Of CPU, in all threads."""
    peak: int
    """Bytes resident at most while it lasted."""
    wall: float = 0.0


Costs = dict[str, Cost]


@dataclass(frozen=True)
class Slope:
    """Of log cost against log n, both without the smallest point's."""

    value: float
    fit: float
    """R² of the line."""
    points: int

    def __str__(self) -> str:
        told = f"{self.value:.2f} (R² {self.fit:.3f}, {self.points} points)"
        return f"{told}  ABOVE LINEAR" if self.value > ABOVE else told


def slope(n: Sequence[float], cost: Sequence[float], *, least: float) -> Slope | None:
    """The slope; None where fewer than two points cost `least` more than the smallest.

    Parameters
    ----------
    n, cost : sequence of float
        Ascending by n.
    least : float
        What can't be told from noise.
    """
    more, size = np.subtract(cost[1:], cost[0]), np.subtract(n[1:], n[0])
    told = more > max(least, 0.1 * cost[0])
    if np.count_nonzero(told) < 2:
        return None
    x, y = np.log(size[told]), np.log(more[told])
    line = np.polyfit(x, y, 1)
    left = y - np.polyval(line, x)
    spread = ((y - y.mean()) ** 2).sum()
    fit = 1.0 if spread == 0 else 1.0 - (left**2).sum() / spread
    return Slope(float(line[0]), float(fit), len(x))


@dataclass(frozen=True)
class Axis:
    """The points along one n."""

    name: str
    n: list[int]
    costs: list[Costs]

    def stages(self) -> list[str]:
        """In the order of their first."""
        return list(dict.fromkeys(stage for each in self.costs for stage in each))

    def series(self, stage: str, what: str) -> tuple[list[float], list[float]]:
        """Numbers n, and the costs there."""
        kept = [(n, costs[stage]) for n, costs in zip(self.n, self.costs, strict=True)
                if stage in costs]  # fmt: skip
        return [float(n) for n, _ in kept], [float(getattr(each, what)) for _, each in kept]


def show(axis: Axis) -> list[str]:
    """Print an axis' table; what is above linear is returned."""
    print(f"\n{axis.name}: {axis.n[0]:,} … {axis.n[-1]:,}")
    print(f"{'stage':22}{'CPU at most':>13}  {'slope of time':44}{'peak':>10}  slope of memory")
    above = []
    for stage in axis.stages():
        n, seconds = axis.series(stage, "seconds")
        _, peaks = axis.series(stage, "peak")
        slopes = {
            "time": slope(n, seconds, least=0.05),
            "memory": slope(n, peaks, least=16 * 2**20),
        }
        told = {what: "flat" if found is None else str(found) for what, found in slopes.items()}
        print(
            f"{stage:22}{seconds[-1]:>11.2f} s  {told['time']:44}"
            f"{quantity(peaks[-1], 'B'):>10}  {told['memory']}"
        )
        above += [
            f"{axis.name}: {what} of {stage}, n^{found.value:.2f}"
            for what, found in slopes.items()
            if found is not None and found.value > ABOVE
        ]
    return above


def draw(axis: Axis, out: Path) -> None:
    """Plot an axis in log-log, time beside memory, as SVG and PNG."""
    import vl_convert

    def panel(what: str, title: str, unit: float) -> dict[str, Any]:
        rows = [
            {"n": n, "cost": cost / unit, "stage": stage}
            for stage in axis.stages()
            for n, cost in zip(*axis.series(stage, what), strict=True)
            if cost > 0
        ]
        log = {"type": "quantitative", "scale": {"type": "log"}}
        return {
            "width": 420,
            "height": 360,
            "data": {"values": rows},
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "n", "title": axis.name, **log},
                "y": {"field": "cost", "title": title, **log},
                "color": {"field": "stage", "type": "nominal", "sort": axis.stages(),
                          "scale": {"scheme": "tableau20"}},
            },
        }  # fmt: skip

    panels = [panel("seconds", "CPU time (s)", 1.0), panel("peak", "peak memory (MiB)", 2.0**20)]
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "hconcat": panels,
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"growth-{axis.name.replace(' ', '-').replace(',', '')}"
    path.with_suffix(".svg").write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
    path.with_suffix(".png").write_bytes(vl_convert.vegalite_to_png(spec, scale=1.5))
