"""How far predicted harm ranks engines as they were measured, within slices, and what it costs.

Rank correlation (Spearman) over an audit's INT8 engines within a slice, the mean over slices: of
predicted harm with the error of the outputs and with the drop of each metric, on evaluation rows
that the prediction never saw. Also weighted: harm of a tap times its sensitivity, the error of the
outputs with that tap alone quantized over its harm, on 128 tuning rows.

    python benchmarks/harm.py [--data ../shared/data] [--out build/harm] [--only speech] [--draws 1]

Data as tests use it: see CONTRIBUTING.md. Pools are built into --out by the data's own scripts.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.calibration.harm import observed_harm
from calaudit.calibration.minimax import minimax_ranges
from calaudit.demo.digits import DEMO_AUDIT, DEMO_MODEL, build_digits_pool
from calaudit.explain.sensitivity import ROWS, measure_sensitivities
from calaudit.formats.ranges import open_ranges
from calaudit.formats.scales import open_scales
from calaudit.results.comparison import ALL
from calaudit.results.harm import HarmRecord
from calaudit.results.report import Report
from calaudit.statistics.rank_prediction import RankAgreement, rank_agreement

ROOT = Path(__file__).parents[1]
METHODS = '["minmax", "entropy", "percentile", "mse"]'


@dataclass(frozen=True)
class Case:
    """One audit, and where its model and pool are."""

    name: str
    audit: Path
    model: Path
    pool: Path
    build: Sequence[str | Path]
    """Command that makes the pool; empty: the demo's."""


def cases(data: Path, out: Path) -> Iterator[Case]:
    speech = [data / "speech" / "build", out / "speech"]
    for kind in ("power", "log"):
        yield Case(
            f"speech {kind}",
            ROOT / "audits" / f"speech-{kind}.toml",
            data / "speech" / kind / "model.onnx",
            out / "speech" / kind / "pool.h5",
            speech,
        )
    yield Case(
        "ranking",
        ROOT / "audits" / "ranking.toml",
        data / "ranking" / "model.onnx",
        out / "ranking.h5",
        [data / "ranking" / "build", out / "ranking.h5"],
    )
    yield Case("digits", DEMO_AUDIT, DEMO_MODEL, out / "digits.h5", ())


def audit_of(case: Case, out: Path, draws: int) -> Path:
    """The audit file beside the results, with so many draws and all four methods."""
    if not case.pool.exists():
        if case.build:
            subprocess.run([sys.executable, *case.build], check=True, stdout=subprocess.DEVNULL)
        else:
            build_digits_pool(case.pool)
    text = case.audit.read_text(encoding="utf-8")
    text = text.replace('"../calibsets/', f'"{ROOT / "calibsets"}/')
    text = re.sub(r"^replicates = \d+", f"replicates = {draws}", text, flags=re.M)
    text = re.sub(r"^methods = .*$", "", text, flags=re.M)
    path = out / f"{case.name.replace(' ', '-')}.toml"
    path.write_text(text.replace("[audit]\n", f"[audit]\nmethods = {METHODS}\n"), encoding="utf-8")
    return path


def by_dimension(report: Report, record: HarmRecord) -> Iterator[tuple[str, float]]:
    """Mean rank correlation with the output's error in the slices of each dimension."""
    groups: dict[str, list[int]] = {}
    for place, each in enumerate(record.slices):
        parts = each.slice.split(" & ")
        name = " & ".join(" ".join(re.findall(r"[a-z_]{3,}", part)[:1]) for part in parts)
        groups.setdefault(name, []).append(place)
    predicted = np.array([cell.total for cell in record.cells])
    measured = np.array([cell.output_error for cell in record.cells], np.float64)
    for name, places in groups.items():
        found = rank_agreement(predicted[:, places].T, measured[:, places].T, seed=0)
        if found.correlation is not None:
            yield f"{name} ({len(places)})", found.correlation


def weighted_ranks(
    path: Path, overrides: Overrides, report: Report
) -> tuple[dict[str | None, RankAgreement], float]:
    """By each measurement: rank agreement of weighted harm; and the seconds that weights took."""
    record = report.harm
    assert record is not None
    names = [each.slice for each in record.slices]
    with prepared_audit(path, overrides) as audit:
        assert audit.plan.slice_ranges is not None
        seen = open_ranges(audit.plan.slice_ranges)
        rows = np.random.default_rng(0).choice(audit.tuning.rows, ROWS, replace=False)
        started = time.perf_counter()
        amax = minimax_ranges(seen.histograms, groups=seen.groups, members=seen.members).ranges
        found = measure_sensitivities(
            audit.folded,
            audit.qdq,
            audit.backend,
            pool=audit.pool,
            rows=np.sort(rows),
            amax=amax,
            outputs=[audit.eval_sets[0].output],
        )
        seconds = time.perf_counter() - started
        weights = found.weights(observed_harm(seen, amax, [ALL]).total[:, 0])
        tables = {cell.id: cell.scales for cell in audit.plan.cells}
        predicted = []
        for cell in record.cells:
            file = tables[cell.cell]
            assert file is not None  # every cell is INT8
            scales = open_scales(file)
            ranges = {tap: each.amax for tap, each in scales.taps.items()}
            predicted.append(observed_harm(seen, ranges, names).sums(weights))
    measured: dict[str | None, NDArray[np.float64]] = {
        None: np.array([cell.output_error for cell in record.cells], np.float64).T
    }
    column = {cell.cell: place for place, cell in enumerate(record.cells)}
    for result in report.results:
        if result.slice in names and result.cell in column and result.drop is not None:
            drops = measured.setdefault(result.metric, np.full((len(names), len(column)), np.nan))
            drops[names.index(result.slice), column[result.cell]] = result.drop
    table = np.array(predicted).T
    return {name: rank_agreement(table, each, seed=0) for name, each in measured.items()}, seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "harm")
    parser.add_argument("--only", default="")
    parser.add_argument("--draws", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for case in cases(given.data, given.out):
        if given.only not in case.name:
            continue
        if not case.model.exists():
            print(f"{case.name}: skipped, {case.model} is absent")
            continue
        path = audit_of(case, given.out, given.draws)
        overrides = Overrides(model=case.model, pool=case.pool)
        started = time.perf_counter()
        report, _ = run_audit(path, overrides, formats="none")
        seconds = time.perf_counter() - started
        print_case(case, report, seconds, *weighted_ranks(path, overrides, report))


def print_case(
    case: Case,
    report: Report,
    seconds: float,
    weighted: dict[str | None, RankAgreement],
    weighing: float,
) -> None:
    record = report.harm
    assert record is not None
    print(
        f"\n{case.name}: {len(record.cells)} engines, {len(record.slices)} slices, {record.taps} "
        f"taps, {record.observed:,} tuning rows; {seconds:.0f} s, of them predicted harm "
        f"{report.timings['predicted harm']:.1f} s"
    )
    worst = {cell.cell: max(cell.total) for cell in record.cells}
    best = min(worst, key=worst.__getitem__)
    print(
        f"  worst slice's harm: bound {record.bound:.4g}, best {worst[best]:.4g} ({best}), worst "
        f"{max(worst.values()):.4g}"
    )
    print(f"  {'rank correlation with':24}  alike  weighted ({weighing:.0f} s)  p, slices")
    for rank in record.ranks:
        if rank.correlation is not None:
            what, other = rank.metric or "error of the outputs", weighted[rank.metric].correlation
            print(
                f"  {what:24} {rank.correlation:6.2f} {other:8.2f}  {rank.p_value:.2g}, "
                f"{rank.slices}{'  weak' if rank.weak else ''}"
            )
    for name, correlation in by_dimension(report, record):
        print(f"    error, {name:28} {correlation:.2f}")
    for notice in report.warnings:
        if notice.code.startswith(("harm_", "tuning_")):
            print(f"  {notice}")


if __name__ == "__main__":
    main()
