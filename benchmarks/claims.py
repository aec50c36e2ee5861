"""Whether a report says more than its tests: simulated audits, told as people read them.

How often the interval of the headline's number misses the drop of what it names, how often an
audit in which nothing is lost says that something is, how often a calibration set is said to pass
that doesn't, and how often a recipe is blamed for the luck of its draw (5 % each may be).

    python benchmarks/claims.py [--simulations 400] [--only TEXT]
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calaudit.audit import records
from calaudit.metrics.catalogue import convention_of, parse_metric
from calaudit.metrics.truth import Labels
from calaudit.metrics.unit_scores import UnitScores
from calaudit.report.findings import clear_gaps, findings, screening_sentence
from calaudit.report.index import Index
from calaudit.results.audited import (
    Artefact,
    AuditRecord,
    CalibsetRecord,
    CellRecord,
    EngineRecord,
    MetricRecord,
    ReferenceRecord,
    SliceRecord,
)
from calaudit.results.comparison import Result
from calaudit.results.drops import Finding
from calaudit.results.report import Report, assemble
from calaudit.results.values import filled
from calaudit.slices.sliceset import CodedDimension, SliceSet
from calaudit.statistics.attribution import Origin, attribute
from calaudit.statistics.compare import compare_cells
from calaudit.statistics.criteria import Tolerance
from calaudit.steps.judge import Judgement, Terms, judge_cells
from calaudit.steps.score import Scored
from calaudit.tasks.base import EvalSet
from calaudit.tasks.classification import Classification

TOP1 = parse_metric("top1")
Generator = np.random.Generator
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """Audits of `cells` engines on `slices` slices of `n` samples each."""

    name: str
    loss: Callable[[int, int], Floats]
    """(cells, slices) → true drops, of that shape."""
    cells: int = 4
    slices: int = 20
    n: int = 300
    flip_rate: float = 0.06
    gate: float | None = 0.02


def everywhere(drop: float) -> Callable[[int, int], Floats]:
    """All lose the same."""
    return lambda cells, slices: np.full((cells, slices), drop)


def one_slice(drop: float) -> Callable[[int, int], Floats]:
    """One slice is harmed, under half of the engines."""

    def make(cells: int, slices: int) -> Floats:
        loss = np.zeros((cells, slices))
        loss[: max(1, cells // 2), 0] = drop
        return loss

    return make


WORLDS = (
    World("40 slices x 8 engines, all lose 3 points", everywhere(0.03), 8, 40),
    World("20 slices x 4 engines, all lose 3 points", everywhere(0.03)),
    World("20 slices x 4 engines, all lose 2: the gate", everywhere(0.02), n=1000),
    World("20 slices x 4 engines, nothing lost", everywhere(0.0)),
    World("20 slices x 4 engines, 8 points on one slice", one_slice(0.08)),
    World("no gate: all lose 3 points", everywhere(0.03), gate=None),
    World("no gate: nothing lost", everywhere(0.0), gate=None),
    World("no gate: 40 slices x 8 engines, nothing lost", everywhere(0.0), 8, 40, gate=None),
    World("no gate: 8 points on one slice", one_slice(0.08), gate=None),
    World("two sets alike, 1 slice, lose 3", everywhere(0.03), 2, 1, 1000),
    World("two sets alike, 1 slice, lose 2: the gate", everywhere(0.02), 2, 1, 1000),
    World("two sets alike, 1 slice, lose 1", everywhere(0.01), 2, 1, 1000),
    World("eight sets alike, 10 slices, lose 3", everywhere(0.03), 8, 10, 1000),
)


def answers(rng: Generator, world: World, loss: Floats) -> tuple[UnitScores, list[UnitScores]]:
    """FP32's and the engines' scores; engines share half of what makes samples flip."""
    units = world.slices * world.n
    right, shared = rng.random(units) < 0.9, rng.random(units)
    engines = []
    for own in loss:
        planted = np.repeat(own, world.n)
        chance = np.where(rng.random(units) < 0.5, shared, rng.random(units))
        lost = right & (chance < (world.flip_rate / 2 + planted) / 0.9)
        gained = ~right & (chance < world.flip_rate / 2 / 0.1)
        engines.append(UnitScores(TOP1, (right & ~lost) | gained))
    return UnitScores(TOP1, right), engines


def simulated(rng: Generator, world: World) -> tuple[Report, Floats]:
    """A whole report, and the true drops (cells, slices)."""
    loss = world.loss(world.cells, world.slices)
    reference, engines = answers(rng, world, loss)
    names = tuple(f"s{i}" for i in range(world.slices))
    codes = np.repeat(np.arange(world.slices, dtype=np.int32), world.n)
    slices = SliceSet(len(codes), (CodedDimension("s", names, codes),))
    eval_set = EvalSet(
        task=Classification(), metrics=(TOP1,),
        truth=Labels(np.zeros(len(codes), np.int64)), slices=slices,
        answer=lambda given, _, units: given.read("scores", np.empty(0, np.int64)),
        output="scores", where="simulated", target="label",
        ids=lambda rows: [str(row) for row in rows.tolist()], unit="sample",
    )  # fmt: skip
    cells = {f"c{i}/m": {TOP1: scores} for i, scores in enumerate(engines)}
    gates = {} if world.gate is None else {
        ("top1", name): Tolerance(world.gate) for name in names
    }  # fmt: skip
    found = judge_cells([Scored(eval_set, {TOP1: reference}, cells)], Terms(gates))
    return _report(world, found, names), loss


def _report(world: World, found: Judgement, names: tuple[str, ...]) -> Report:
    engine = EngineRecord("e", "emulated")
    sets = [f"c{i}" for i in range(world.cells)]
    return assemble(
        audit=AuditRecord("simulated", {}, "c", Artefact("m", "m"), Artefact("p", "p"), 0, {}),
        metrics=[
            MetricRecord(TOP1.name, TOP1.title, TOP1.unit, "binary", True, "tango",
                         convention_of(TOP1))
        ],
        reference=ReferenceRecord("onnxruntime", engine),
        calibsets=[CalibsetRecord(name, "given", "given", 1) for name in sets],
        cells=[
            CellRecord(f"{name}/m", name, "m", "int8", "onnxruntime", "calaudit", "judged", engine)
            for name in sets
        ],
        slices=[SliceRecord(name, world.n, True) for name in ("all", *names)],
        results=[filled(Result, one) for one in found.comparisons],
        gaps=found.gaps,
        screening=records.screening_records(found.comparisons),
    )  # fmt: skip


NUMBER = r"(−?[\d.]+)"
TOLD = re.compile(
    rf"(?:on (c\d+), m) (loses|gains) {NUMBER} points of top-1 accuracy "
    rf"\(95 % CI {NUMBER}(?:–| to ){NUMBER}.*?\) (?:on (s\d+)|overall)"
)
ROUNDING = 0.0005


@dataclass
class Count:
    """What audits of one world said."""

    audits: int = 0
    told: int = 0
    """Headlines with a number and its interval."""
    missed: int = 0
    """Of these, without the true drop of what they name."""
    excess: float = 0.0
    """Σ of what the number is above the truth."""
    claims: int = 0
    """Audits that say of something that it is lost, without "not significant"."""
    passed: int = 0
    """Audits that say of a set that it passed every gate though it loses as much as its gate."""
    none_from: int = 0
    """Audits that say that no regressions come from a set, or that they all come from one."""


def count(rng: Generator, world: World, audits: int) -> Count:
    """Simulate and read."""
    found = Count(audits)
    for _ in range(audits):
        report, loss = simulated(rng, world)
        first, second, _ = findings(report)
        told = TOLD.search(first)
        if told is not None:
            cell, verb, value, low, high, place = told.groups()
            own = loss[int(cell[1:])]
            truth = own.mean() if place is None else own[int(place[1:])]
            drop = _number(value) * (1 if verb == "loses" else -1)
            found.told += 1
            found.missed += not _number(low) - ROUNDING <= truth <= _number(high) + ROUNDING
            found.excess += drop - truth
        found.claims += bool(list(_claims(report, first)))
        harmful = {
            f"c{i}" for i, own in enumerate(loss)
            if world.gate is not None and own.max() >= world.gate
        }  # fmt: skip
        said = re.search(r"; ([^;]*) passed every gate", second)
        alone = re.search(r"; (c\d+) with m passes", first)
        named = set(re.findall(r"c\d+", (said or [""])[0])) | ({alone[1]} if alone else set())
        found.passed += bool(named & harmful)
        found.none_from += "none from" in second or "come from" in second
    return found


def _claims(report: Report, first: str) -> Iterator[str]:
    """Sentences that say of something that it is lost."""
    index = Index(report)
    if "loses" in first and "not significant" not in first and "loses at most" not in first:
        yield first
    yield from (one.slice for one in clear_gaps(index, set(index.slices)))
    yield from filter(None, [screening_sentence(index, list(report.screening))])


def _number(text: str) -> float:
    return float(text.replace("−", "-")) / 100


def show_worlds(simulations: int, only: str) -> None:
    """The table of claims."""
    print(
        f"{'world':48}{'told':>7}{'missed':>8}{'excess':>8}{'claims':>8}{'passed':>8}{'none of':>8}"
    )
    for world in WORLDS:
        if only not in world.name:
            continue
        found = count(np.random.default_rng(0), world, simulations)
        told = max(found.told, 1)
        rates = (
            found.told / found.audits, found.missed / told, 100 * found.excess / told,
            found.claims / found.audits, found.passed / found.audits,
            found.none_from / found.audits,
        )  # fmt: skip
        print(f"{world.name:48}" + "".join(f"{rate:>8.3f}" for rate in rates), flush=True)


@dataclass(frozen=True)
class Lucky:
    """Recipes whose draws differ: points of luck by recipe, and what the first adds."""

    name: str
    luck: tuple[float, ...]
    added: float = 0.0
    methods: int = 1
    slices: int = 1


LUCKS = (
    Lucky("no luck", (0.0,) * 4),
    Lucky("luck of 2 points", (0.02,) * 4),
    Lucky("luck of 3 points", (0.03,) * 4),
    Lucky("luck of 3, two recipes", (0.03,) * 2),
    Lucky("luck of 6 and 3, 3, 3", (0.06, 0.03, 0.03, 0.03)),
    Lucky("luck of 6 and 1, 1, 1", (0.06, 0.01, 0.01, 0.01)),
    Lucky("luck of 15 and 1, 1, 1", (0.15, 0.01, 0.01, 0.01)),
    Lucky("luck of 3, 2 methods, 4 slices", (0.03,) * 4, methods=2, slices=4),
    Lucky("no luck, one adds 10", (0.0,) * 4, added=0.10),
    Lucky("luck of 2, one adds 10", (0.02,) * 4, added=0.10),
    Lucky("luck of 2, one adds 25", (0.02,) * 4, added=0.25),
    Lucky("luck of 2, one adds 25, 2 methods, 4 slices", (0.02,) * 4, 0.25, 2, 4),
)
DRAWS = (1, 2, 3, 5)
N, PRICE = 1000, 0.3


def blamed(rng: Generator, world: Lucky, draws: int) -> set[str]:
    """Recipes of one audit that are said to do it; the first is guilty if it adds anything."""
    units = N * world.slices
    right, shared = rng.random(units) < 0.9, rng.random(units)
    cells: dict[str, UnitScores] = {}
    origins: dict[str, Origin] = {}
    for recipe, luck in enumerate(world.luck):
        for draw in range(1, draws + 1):
            common = rng.normal()
            for method in range(world.methods):
                own = common if world.slices == 1 else 0.8 * common + 0.6 * rng.normal(
                    size=world.slices
                )  # fmt: skip
                harm = PRICE + luck * np.broadcast_to(own, world.slices)
                harm = np.clip(harm + world.added * (recipe == 0), 0.0, 0.85)
                chance = np.where(rng.random(units) < 0.5, shared, rng.random(units))
                lost = right & (chance < (0.03 + np.repeat(harm, N)) / 0.9)
                name = f"r{recipe}#{draw}/m{method}"
                cells[name] = UnitScores(TOP1, (right & ~lost) | (~right & (chance < 0.3)))
                origins[name] = Origin(f"r{recipe}", f"m{method}", draw)
    rows = {f"s{i}": np.arange(i * N, (i + 1) * N) for i in range(world.slices)}
    reference = UnitScores(TOP1, right)
    judged = compare_cells(TOP1, reference, cells, rows, max_drop=0.02)
    found = attribute(TOP1, reference, cells, rows, origins=origins, comparisons=judged)
    return {one.recipe for one in found if Finding.THIS_SET in one.findings}


def show_lucks(simulations: int, only: str) -> None:
    """The table of blame."""
    print(f"{'recipes':48}" + "".join(f"{f'{k} draws':>16}" for k in DRAWS) + "  blamed/found")
    for world in LUCKS:
        if only not in world.name:
            continue
        line = ""
        for draws in DRAWS:
            rng = np.random.default_rng(0)
            said = [blamed(rng, world, draws) for _ in range(simulations)]
            guilty = {"r0"} if world.added else set()
            false = np.mean([bool(each - guilty) for each in said])
            found = f" /{np.mean([bool(each & guilty) for each in said]):.3f}" if guilty else ""
            line += f"{f'{false:.3f}{found}':>16}"
        print(f"{world.name:48}{line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--only", default="", help="worlds whose name holds this text")
    options = parser.parse_args()
    started = time.perf_counter()
    show_worlds(options.simulations, options.only)
    show_lucks(options.simulations, options.only)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
