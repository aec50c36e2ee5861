"""Reports with a bench whose speeds and losses are planted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from calaudit.results.audited import CellRecord
from calaudit.results.bench import BenchedEngine, BenchRecord, Ratio, Throughput
from calaudit.results.comparison import Result
from calaudit.results.report import Report
from calaudit.results.values import Estimate
from tests.report.benched import SETTINGS, benched, estimate
from tests.report.factory import cell, report, result

NOISY = "noise ≥ 0.4"
SLICES = ("all", "noise < 0.4", NOISY)
WHEN = "2026-11-03T12:30:00+00:00"
MACHINE = {"cpu": "a processor", "cores": "2", "gpu": None}

Speed = float | tuple[float, float, float]
"""A speed-up over FP32, ± 1 %; or with its ends."""


def speed_of(speed: Speed) -> Estimate:
    return Estimate(*speed) if isinstance(speed, tuple) else estimate(speed, 0.01)


def engine(name: str, speed: Speed, precision: str = "int8", **changes: Any) -> BenchedEngine:
    """One that takes 0.2 ms over the speed-up for a sample, and 4 ms for 64."""
    value = speed_of(speed).value or 1.0
    throughput = (
        Throughput(64, 1, estimate(16_000 * value)),
        Throughput(64, 4, estimate(20_000 * value)),
    )
    given = {"ms": 4 / value, "precision": precision, "throughput": throughput, **changes}
    return benched(name, **given)


def ratios(name: str, speed: Speed, baseline: str = "fp32", **changes: Any) -> list[Ratio]:
    """Of latency at both batches and of throughput."""
    variant, against = changes.get("variant", ""), changes.get("baseline_variant", "")
    found = speed_of(speed)
    return [
        Ratio(name, variant, baseline, against, "latency", found, 1),
        Ratio(name, variant, baseline, against, "latency", found, 64),
        Ratio(name, variant, baseline, against, "throughput", found, 64, 1),
    ]


def losses(name: str, noisy: float, *, half: float = 0.005, verdict: str = "") -> list[Result]:
    """Nothing lost but on noisy samples; a gate of 2 points."""
    told = verdict or ("REGRESSED" if noisy > 0.02 else "PASS")
    return [
        result(name, where, drop, each, half=half)
        for where, drop, each in zip(
            SLICES, (noisy / 4, 0.0, noisy), ("PASS", "PASS", told), strict=True
        )
    ]


def planted(
    speeds: Mapping[str, Speed],
    noisy: Mapping[str, float],
    *,
    controls: Sequence[str] = (),
    half_speed: Speed | None = None,
    half: float = 0.005,
) -> Report:
    """INT8 engines by speed-up over FP32 and loss on noisy samples, FP32, and FP16 if wanted.

    An engine's id is its set and method; FP16 loses nothing, with an interval.
    """
    cells = [
        cell(of, method, role="control" if of in controls else "candidate")
        for of, _, method in (name.rpartition("/") for name in speeds)
    ]
    results = [each for name in speeds for each in losses(name, noisy[name], half=half)]
    engines = [engine("fp32", 1.0, "fp32")]
    found = [each for name, speed in speeds.items() for each in ratios(name, speed)]
    if half_speed is not None:
        cells.append(half_cell())
        results += losses("fp16", 0.0, half=0.001)
        engines.append(engine("fp16", half_speed, "fp16"))
        found += ratios("fp16", half_speed)
        for name, speed in speeds.items():
            found += ratios(name, over(speed, half_speed), "fp16")
    engines += [engine(name, speed) for name, speed in speeds.items()]
    noise = (Ratio("fp32", "", "fp32", "", "latency", Estimate(1.001, 0.99, 1.012), 1),)
    record = BenchRecord(WHEN, SETTINGS, MACHINE, tuple(engines), tuple(found), noise)
    return replace(report(results, cells=tuple(cells)), bench=record)


def half_cell(**changes: Any) -> CellRecord:
    made = replace(cell(None, None), id="fp16", precision="fp16", ranges_by=None)
    return replace(made, **changes)


def over(speed: Speed, other: Speed) -> Speed:
    one, base = speed_of(speed).value, speed_of(other).value
    assert one is not None
    assert base is not None
    return one / base, one / base * 0.99, one / base * 1.01


def usual() -> Report:
    """Equal keeps its gates, clean (a control) doesn't; FP16 is faster than FP32."""
    return planted(
        {"clean/minmax": 3.0, "clean/mse": 3.02, "equal/minmax": 2.98, "equal/mse": 3.0},
        {"clean/minmax": 0.18, "clean/mse": 0.15, "equal/minmax": 0.012, "equal/mse": 0.008},
        controls=("clean",),
        half_speed=1.5,
    )
