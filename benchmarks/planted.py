"""What `calaudit explain` says of nets whose truth is known, over seeds.

    python benchmarks/planted.py [SEEDS] [KIND]...

One row per kind of net (benchmarks/worlds/planted.py): in how many seeds every explanation of the
engine that the cause harms says the truth, in how many anything else is accused, explanations per
audit, and what an explanation costs in samples run over those of one judged engine. Of the null,
where every drop as measured is explained on demand, any accusation is false.
"""

import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from worlds.planted import KINDS, Planted, write_world

from calaudit.explain.run import explain_audit
from calaudit.results.explanation import FOUND, Cause, Explanation
from calaudit.results.report import Report


@dataclass
class Tally:
    """What was said of one kind, over seeds."""

    seeds: int = 0
    harmed: int = 0
    """Seeds in which the engine regressed, so that there was something to explain."""
    right: int = 0
    wrong: int = 0
    told: int = 0
    costs: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)


def says_the_truth(kind: Planted, one: Explanation) -> bool:
    """Whether an explanation names what was planted and nothing else."""
    if kind.null:
        return one.cause not in FOUND
    if kind.taps:
        return one.cause is Cause.RANGES and set(one.taps) == set(kind.taps)
    if kind.ops:
        return one.cause is Cause.OPS and one.ops == kind.ops
    return one.cause in {Cause.OPS_IN_PART, Cause.NOTHING_FOUND}


def accuses_falsely(kind: Planted, one: Explanation) -> bool:
    """Whether it names a tap or an op that has no part in the harm."""
    if one.cause not in FOUND:
        return False
    if kind.null:
        return True
    guilty_ops = kind.ops or (("gemm2", "gemm3", "gemm4") if not kind.taps else ())
    # an op that reads a guilty tap does take the drop back in float
    readers = tuple(f"gemm{'x123'.index(tap[-1]) + 1}" for tap in kind.taps)
    return not (set(one.taps) <= set(kind.taps) and set(one.ops) <= {*guilty_ops, *readers})


def count(kind: Planted, report: Report, tally: Tally) -> None:
    """Add one audit's explanations."""
    tally.seeds += 1
    mine = [
        one
        for one in report.explanations
        if kind.null or kind.cell in {one.cell, *(other.cell for other in one.alike)}
    ]
    tally.harmed += bool(mine)
    tally.right += bool(mine) and all(says_the_truth(kind, one) for one in mine)
    tally.wrong += any(accuses_falsely(kind, one) for one in report.explanations)
    tally.told += len(report.explanations)
    tally.costs += [one.cost for one in report.explanations]
    tally.seconds.append(report.timings["explanations"])
    tally.causes.update(one.cause.value for one in report.explanations)


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    seeds = int(arguments[0]) if arguments else 20
    wanted = set(arguments[1:])
    warnings.simplefilter("ignore")
    print("| planted | truth | seeds | harmed | said so | false accusations | told | cost | s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in KINDS:
        if wanted and kind.name not in wanted:
            continue
        tally = Tally()
        for seed in range(seeds):
            with tempfile.TemporaryDirectory(prefix="planted-") as folder:
                path = write_world(Path(folder), kind, seed=seed)
                report, _ = explain_audit(path, formats="none", every=kind.null)
            count(kind, report, tally)
        truth = ", ".join((*kind.taps, *kind.ops)) or ("–" if kind.null else "no ranges")
        cost = float(np.median(tally.costs)) if tally.costs else float("nan")
        print(
            f"| {kind.name} | {truth} | {tally.seeds} | {tally.harmed} | {tally.right} | "
            f"{tally.wrong} | {tally.told / tally.seeds:.1f} | {cost:.1f} | "
            f"{np.median(tally.seconds):.1f} |  {dict(tally.causes)}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
