"""How many wrong assignments, on the way from a computed value to report.json, a test notices.

Each is put into a copy of the package, alone; then the tests that hold the report's numbers run.

    python benchmarks/mutations.py [--only TEXT]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    "tests/audit/test_report_values.py",
    "tests/audit/test_ranking_values.py",
    "tests/audit/test_compared.py",
)


@dataclass(frozen=True)
class Mutation:
    """Text that occurs once in the package, and what is put in its place."""

    what: str
    right: str
    wrong: str


def swapped(what: str, text: str, one: str, other: str) -> Mutation:
    """Two words of a text in each other's place."""
    return Mutation(what, text, text.replace(one, "\0").replace(other, one).replace("\0", other))


ENDS = "low, high, one_sided_low, one_sided_high = map("
MUTATIONS = (
    Mutation("FP32's value for the engine's",
             "candidate=_finite(measured.after[at])", "candidate=_finite(measured.before[at])"),
    Mutation("drop with its sign turned",
             "drop=_finite(estimate.drop[at])", "drop=_finite(-estimate.drop[at])"),
    swapped("lost and gained", "Flips(int(flips[0][at]), int(flips[1][at]))", "[0]", "[1]"),
    Mutation("low and high", ENDS, "high, low, one_sided_low, one_sided_high = map("),
    Mutation("one-sided bounds for two-sided ones",
             ENDS, "one_sided_low, one_sided_high, low, high = map("),
    Mutation("n of the first slice", "n=int(measured.n[at])", "n=int(measured.n[at[0], 0])"),
    Mutation("left out: of the first slice",
             "int(measured.n_left_out[at[1]])", "int(measured.n_left_out[0])"),
    Mutation("broken for left out",
             "n_broken=int(measured.n_broken[at])", "n_broken=int(measured.n_left_out[at[1]])"),
    Mutation("the test's other side",
             "_finite(estimate.p_value[at])", "_finite(1 - estimate.p_value[at])"),
    Mutation("error for level", "level=levels.level", "level=levels.alpha"),
    Mutation("all units for the changed ones",
             "n_changed=int(estimate.n_changed[at])", "n_changed=int(measured.n[at])"),
    Mutation("standard error in points",
             "_finite(estimate.error[at])", "_finite(100 * estimate.error[at])"),
    Mutation("standard error of the first cell",
             "_finite(estimate.error[at])", "_finite(estimate.error[0, at[1]])"),
    Mutation("design effect: the standard error",
             "_finite(estimate.design_effect[at])", "_finite(estimate.error[at])"),
    Mutation("clusters of the first slice", "int(clusters[at[1]])", "int(clusters[0])"),
    Mutation("units per independent one for their number",
             '"n_effective": independent', '"n_effective": per_unit'),
    Mutation("the gate's share for its drop",
             "Gate(gate.of(reference), gate.relative_at(reference))",
             "Gate(gate.of(reference), gate.of(reference))"),
    Mutation("family of all comparisons",
             "family_size=len(indices)", "family_size=len(comparisons)"),
    Mutation("p-value not adjusted",
             "p_adjusted=value, family", "p_adjusted=comparisons[index].p_value, family"),
    Mutation("n for the units that are needed", "n_needed=needed)", "n_needed=one.n)"),
    Mutation("own bound for the joint one",
             "joint_low=_lower(found, lows)", "joint_low=found.high"),
    Mutation("floor as the relative gate",
             "replace(one.gate, min_reference=floor)",
             "replace(one.gate, max_relative_drop=floor)"),
    Mutation("rest for the slice's drop",
             "drop=float(sides.inside.value[worst])", "drop=float(sides.outside.value[worst])"),
    Mutation("gap of the first slice",
             "float(ahead.value[worst]),", "float(ahead.value[0]),"),
    Mutation("addition for price", "price=one.price,", "price=one.own.addition,"),
    Mutation("spread for drop", "drop=one.own.drop,", "drop=one.own.spread,"),
    Mutation("the recipe for the best", "best=one.best,", "best=one.own.recipe,"),
    swapped("p-values of price and addition",
            "p_price=p_price,\n        p_addition=p_addition,",
            "=p_price", "=p_addition"),
    swapped("exemplars: lost and gained",
            "lost=int(lost[at]),\n                gained=int(gained[at]),",
            "int(lost", "int(gained"),
    Mutation("exemplars: mean drop for FP32's score",
             "reference=float(before[at]),\n                mean_drop",
             "reference=float(mean[at]),\n                mean_drop"),
    swapped("ties under FP32 and the engine",
            'reference_ties=change.tied_share("fp32", rows),\n'
            '        candidate_ties=change.tied_share("engine", rows)', '"fp32"', '"engine"'),
    swapped("worst and best over ties",
            "bounds.worst.value(rows), bounds.best.value(rows)", "worst", "best"),
    Mutation("head to tail and tail to head",
             "pairs.reshape(-1, 4)", "pairs.transpose(0, 2, 1).reshape(-1, 4)"),
    swapped("exposure before and after",
            "reference=float(before[at]),\n                    candidate=float(after[at])",
            "before", "after"),
    Mutation("the head for the long tail", "bool(tail[at])", "not bool(tail[at])"),
    swapped("shares of the set and of the pool",
            "count / n, pool[name] / max(1, len(audit.pool))",
            "count / n", "pool[name] / max(1, len(audit.pool))"),
    swapped("engine and scale table",
            "file=_kept(audit, planned.built if own else planned.engine),\n"
            "        scales=_kept(audit, planned.scales)", "file=", "scales="),
    swapped("ops in INT8 and in float",
            "quantized,\n            floats,", "quantized", "floats"),
    Mutation("interval of means for all metrics",
             "interval=INTERVALS[metric.kind]", 'interval=INTERVALS["mean"]'),
    swapped("whose amax is whose",
            "127 * each.first, 127 * each.second", "first", "second"),
    Mutation("scales for amax",
             "127 * each.first, 127 * each.second", "each.first, each.second"),
    Mutation("verdicts in common", "verdicts_equal=equal", "verdicts_equal=len(pairs) - equal"),
    Mutation("the sixth field of every record taken from the one before it",
             "taken = {name: getattr(source, name) for name in named",
             "order = [each.name for each in dataclasses.fields(kind)]\n    "
             "taken = {name: getattr(source, order[4] if name == order[5] else name) "
             "for name in named"),
)  # fmt: skip


def put(tree: Path, mutation: Mutation) -> tuple[Path, str]:
    """Write a mutation into the one file that it fits; gives the file and its text before."""
    files = [
        (path, path.read_text(encoding="utf-8"))
        for path in sorted((tree / "calaudit").rglob("*.py"))
    ]
    fitting = [(path, text) for path, text in files if mutation.right in text]
    if len(fitting) != 1 or fitting[0][1].count(mutation.right) != 1:
        raise SystemExit(f"{mutation.what}: its text must occur once, in one file: mend it here")
    path, text = fitting[0]
    path.write_text(text.replace(mutation.right, mutation.wrong), encoding="utf-8")
    return path, text


def noticed(tree: Path) -> str | None:
    """The first test that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0] if failed else f"pytest ended with {done.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutations whose name holds this")
    only = parser.parse_args().only
    chosen = [each for each in MUTATIONS if only in each.what]
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in ("calaudit", "tests"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        if (broken := noticed(tree)) is not None:
            raise SystemExit(f"without a mutation: {broken}")
        for mutation in chosen:
            path, text = put(tree, mutation)
            by = noticed(tree)
            path.write_text(text, encoding="utf-8")
            found += by is not None
            print(f"{mutation.what:52} {by or 'NOT NOTICED'}", flush=True)
    print(f"{found} of {len(chosen)} noticed")


if __name__ == "__main__":
    main()
