"""What the numbers of a bench have to be read with, a sentence each."""

from collections.abc import Iterator, Mapping, Sequence

from calaudit.report.bench.float_cost import exemption_lines
from calaudit.report.bench.measured import Bench, Measure
from calaudit.report.bench.wording import times
from calaudit.report.wording import percent
from calaudit.results.bench import Ratio
from calaudit.runtime.errors import Notice
from calaudit.runtime.words import counted, first_of, visible

_SHOWN = 3
_NAMED = 12
"""Engines that a notice of several names."""
_ENGINE = "engine "
_MACHINE = ("gpu", "cpu", "cores", "driver")
"""Keys of a bench's environment that say what it ran on, in the order they are told."""


def bench_remarks(bench: Bench) -> Iterator[str]:
    """When and on what it was measured, its noise, what its engines aren't, its notices."""
    yield _measured(bench)
    yield from _noise(bench)
    yield from exemption_lines(bench)
    yield from _kernels(bench)
    yield from _variants(bench)
    yield from _traced(bench)
    yield from _notices(bench.record.notices)


def _notices(notices: Sequence[Notice]) -> Iterator[str]:
    """What is the same of several engines is told once."""
    places: dict[tuple[str, str], list[str]] = {}
    for notice in notices:
        places.setdefault((notice.code, notice.message), []).append(notice.where or "bench")
    for (_, message), where in places.items():
        yield f"{_place(where)}{visible(message)}"


def _place(where: Sequence[str]) -> str:
    """``"engine a: "``, ``"engines a, b: "``; empty where it is of the whole bench."""
    if "bench" in where:
        return ""
    engines = [each.removeprefix(_ENGINE) for each in where if each.startswith(_ENGINE)]
    if len(engines) < len(where) or len(where) == 1:
        return f"{', '.join(map(visible, where))}: "
    return f"engines {first_of(map(visible, engines[:_NAMED]), len(engines))}: "


def bench_legend(bench: Bench) -> str:
    """What the columns mean."""
    level = percent(bench.record.settings.level)
    return (
        "Latency: P50 / P95 / P99 in ms, from inputs in the host's memory to outputs there. "
        "Memory: the most that the engine adds to what was taken before it was loaded, or weights "
        "and activations where that isn't known. samples/s: the most that was measured, and at "
        "which batch, × streams where several batches were under way. In "
        f"brackets: {level} intervals; the worst slice's holds though it is the worst"
    )


def measured_where(bench: Bench) -> str:
    """``"Measured 2026-11-03 12:30 UTC on a processor, 2 cores"``."""
    when = f"{bench.record.measured[:16].replace('T', ' ')} UTC"
    place = visible(", ".join(_places(bench.record.environment)))
    return f"Measured {visible(when)}{f' on {place}' if place else ''}"


def _measured(bench: Bench) -> str:
    rounds = counted(bench.record.settings.rounds, "round")
    if all(each.source != "measured" for each in bench.record.engines):
        return measured_where(bench)
    return f"{measured_where(bench)}; {rounds}, in each of which every engine ran, in a new order"


def _places(environment: Mapping[str, str | None]) -> Iterator[str]:
    for key in _MACHINE:
        value = environment.get(key)
        if value:
            named = {"cores": f"{value} cores", "driver": f"driver {value}"}
            yield named.get(key, value)


def _noise(bench: Bench) -> Iterator[str]:
    """How far from 1 a ratio is where nothing differs."""
    told: dict[str, list[str]] = {}
    for one in bench.record.noise:
        name = _baseline(bench, one)
        if one.ratio.value is None or one.quantity != "latency":
            continue
        measure = Measure(one.quantity, one.batch, one.streams)
        told.setdefault(name, []).append(f"{measure.title}: {times(one.ratio)}")
    for name, found in told.items():
        yield (
            f"Noise floor: {name} timed against a second copy of itself, "
            f"{first_of(found[:_SHOWN], len(found))}"
        )


def _baseline(bench: Bench, one: Ratio) -> str:
    key = (one.baseline, one.baseline_variant)
    found = next((e for e in bench.record.engines if e.key == key), None)
    return visible(one.baseline) if found is None else bench.name(found)


def _kernels(bench: Bench) -> Iterator[str]:
    """Engines that were judged with other kernels than they were timed with."""
    other = []
    for engine in bench.record.engines:
        cell = bench.cell(engine)
        if cell is None or cell.engine is None or engine.variant:
            continue
        if {engine.kernels, cell.engine.kernels} == {"fused", "emulated"}:
            other.append((engine.kernels, cell.engine.kernels))
    for timed, judged in dict.fromkeys(other):
        yield (
            f"{counted(other.count((timed, judged)), 'INT8 engine')} timed with {timed} kernels "
            f'and judged with {judged} ones, whose answers may differ: kernels = "{timed}" in the '
            "audit file judges what was timed"
        )


def _variants(bench: Bench) -> Iterator[str]:
    """What the knobs are, and what engines built with them aren't."""
    own = {each.engine: each for each in bench.record.engines if not each.variant}
    knobs: dict[str, str] = {}
    for engine in bench.record.engines:
        if engine.variant:
            plain = own[engine.engine].knobs if engine.engine in own else {}
            other = {k: v for k, v in engine.knobs.items() if plain.get(k) != v}
            text = ", ".join(f"{key} = {_value(value)}" for key, value in other.items())
            knobs.setdefault(engine.variant, text)
    for name, told in knobs.items():
        if told:
            yield f"{visible(name)}: {visible(told)}"
    if knobs:
        yield (
            f"What {first_of([visible(each) for each in knobs][:_SHOWN], len(knobs))} does to "
            "answers wasn't judged: such rows have no quality, no point in the picture, and speeds "
            "over the baseline with the same knobs"
        )


def _value(value: str | float | None) -> str:
    """As audit files have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _traced(bench: Bench) -> Iterator[str]:
    n = sum(each.source == "trtexec" for each in bench.record.engines)
    if n:
        yield (
            f"{counted(n, 'engine')} timed by trtexec, apart from the others: no ratio says how "
            f"fast {'it is' if n == 1 else 'they are'} beside them"
        )
