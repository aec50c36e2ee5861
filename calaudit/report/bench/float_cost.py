"""What ops in float cost in time: by layers where nobody built that, by runs where it is built."""

from collections.abc import Iterator, Sequence

from calaudit.report.bench.measured import Bench, Measure, bench_of, quotient
from calaudit.report.bench.wording import TIMES, factor, reach, three_digits
from calaudit.report.index import Index
from calaudit.results.audited import CellRecord
from calaudit.results.bench import BenchedEngine
from calaudit.runtime.words import counted, first_of, visible
from calaudit.statistics.float_cost import FloatCost, float_cost, float_twin

_SHOWN = 3


def float_cost_lines(index: Index, cell: str, ops: Sequence[str]) -> Iterator[str]:
    """What it would cost to leave ops of a cell in float, where a bench timed its layers.

    Nothing where there is no such bench. Of a cell that leaves them in float already, or whose
    layers weren't timed, an engine's layers are taken that differs from it in that alone, or in its
    ranges.
    """
    bench = bench_of(index)
    if bench is None or not ops or cell not in index.cells:
        return
    timed = _in_int8(bench, index.cells[cell], ops)
    if timed is None:
        return
    single = float_twin(bench.record, timed)
    cost = None if single is None else float_cost(ops, timed, single)
    if cost is not None:
        yield _told(cost)


def exemption_lines(bench: Bench) -> Iterator[str]:
    """What exemptions cost in the runs of their own engines, against the same without."""
    for engine in bench.record.engines:
        cell = bench.cell(engine)
        if cell is None or cell.exemption is None or cell.engine is None or engine.variant:
            continue
        plain = _without(bench, cell)
        line = None if plain is None else _against(bench, engine, plain)
        if line is not None:
            products = counted(len(cell.engine.exempt), "product")
            yield f"{bench.name(engine)}, with {products} left in float: {line}"


def _told(cost: FloatCost) -> str:
    names = first_of([visible(op) for op in cost.ops[:_SHOWN]], len(cost.ops))
    beside = f", {counted(len(cost.beside), 'more node')} of their layers included"
    single, int8 = three_digits(cost.float_ms), three_digits(cost.int8_ms)
    where = f"at batch {cost.batch:,}{beside if cost.beside else ''}"
    if single == int8:
        return f"{names} takes as long in FP32 as in INT8, {int8} ms {where}"
    share = f"{100 * abs(cost.added):.2g} % of what INT8's layers take"
    how = "adds" if cost.added_ms > 0 else "saves"
    return (
        f"Left in float, {names} {how} {three_digits(abs(cost.added_ms))} ms to a run, {share}: "
        f"{single} ms in FP32, {int8} ms in INT8 {where}"
    )


def _in_int8(bench: Bench, cell: CellRecord, ops: Sequence[str]) -> BenchedEngine | None:
    """The cell's engine, or one most like it, that has timed layers and these ops in INT8."""
    found = []
    for engine in bench.on(cell.backend):
        other = bench.cell(engine)
        if other is None or other.engine is None or engine.variant or not engine.layers:
            continue
        if engine.precision != "int8" or set(ops) & set(other.engine.exempt):
            continue
        alike = other.id == cell.id, _recipe(other) == _recipe(cell), other.exemption is None
        found.append((alike, engine))
    return max(found, key=lambda one: one[0], default=(None, None))[1]


def _without(bench: Bench, cell: CellRecord) -> BenchedEngine | None:
    """The engine that differs from a cell's in its exemption alone."""
    for engine in bench.on(cell.backend):
        other = bench.cell(engine)
        alike = other is not None and other.exemption is None and not engine.variant
        if alike and other is not None and _recipe(other) == _recipe(cell):
            return engine
    return None


def _recipe(cell: CellRecord) -> tuple[object, ...]:
    return cell.calibset, cell.method, cell.given_ranges, cell.precision, cell.backend


def _against(bench: Bench, engine: BenchedEngine, plain: BenchedEngine) -> str | None:
    for measure in bench.measures:
        baseline = bench.baseline(engine.backend, measure)
        if baseline is None:
            continue
        speeds = [bench.speed(each, baseline, measure) for each in (engine, plain)]
        if speeds[0] is None or speeds[1] is None:
            continue
        speed = quotient(speeds[0], speeds[1])
        ends = reach(speed, factor)
        held = f" ({ends})" if ends else ""
        took = _took(bench, engine, plain, measure)
        return f"{factor(speed.value)} {TIMES} as fast as without{held}{took}"
    return None


def _took(bench: Bench, engine: BenchedEngine, plain: BenchedEngine, measure: Measure) -> str:
    """``", P50 1.91 instead of 1.80 ms at batch 64"``."""
    if measure.batch is None:
        return ""
    times = [bench.latency(each, measure.batch) for each in (engine, plain)]
    if times[0] is None or times[1] is None:
        return ""
    here, there = (three_digits(each.p50.value) for each in times if each is not None)
    return f", P50 {here} instead of {there} ms at batch {measure.batch:,}"
