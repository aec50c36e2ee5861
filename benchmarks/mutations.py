"""How many wrong assignments, on the way from a computed value to report.json, a test notices.

Each is put into a copy of the package, alone; then the tests that hold the report's numbers run.

    python benchmarks/mutations.py [--only TEXT]
"""

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy  # noqa: F401 - loaded once, for all that are forked
import onnx  # noqa: F401
import onnxruntime  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import sklearn.metrics  # noqa: F401

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
    first: int = 0
    """Which of `TESTS` runs first; the others do where it notices nothing."""


def swapped(what: str, text: str, one: str, other: str, first: int = 0) -> Mutation:
    """Two words of a text in each other's place."""
    wrong = text.replace(one, "\0").replace(other, one).replace("\0", other)
    return Mutation(what, text, wrong, first)


RANKING, COMPARED = 1, 2


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
             "int(measured.n_left_out[at[1]])", "int(measured.n_left_out[0])", RANKING),
    Mutation("broken for left out",
             "n_broken=int(measured.n_broken[at])",
             "n_broken=int(measured.n_left_out[at[1]])", RANKING),
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
             "joint_low=min(joint, one.low)", "joint_low=one.low"),
    Mutation("floor as the relative gate",
             "replace(one.gate, min_reference=floor)",
             "replace(one.gate, max_relative_drop=floor)"),
    Mutation("rest for the slice's drop",
             "drop=float(inside[worst]),", "drop=float(outside[worst]),"),
    Mutation("gap of the first slice",
             "float(ahead[worst]),", "float(ahead[0]),"),
    Mutation("addition for price", "price=one.price,", "price=one.own.addition,"),
    Mutation("spread for drop", "drop=float(means.value[index]),", "drop=float(np.ptp(own)),"),
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
            '        candidate_ties=change.tied_share("engine", rows)',
            '"fp32"', '"engine"', RANKING),
    swapped("worst and best over ties",
            "values[:, -2].tolist(), values[:, -1].tolist()", "-2", "-1", RANKING),
    Mutation("head to tail and tail to head",
             "pairs.reshape(-1, 4)", "pairs.transpose(0, 2, 1).reshape(-1, 4)", RANKING),
    swapped("exposure before and after",
            "reference=float(before[at]),\n                    candidate=float(after[at])",
            "before", "after", RANKING),
    Mutation("the head for the long tail", "bool(tail[at])", "not bool(tail[at])", RANKING),
    swapped("shares of the set and of the pool",
            "count / n, pool[name] / max(1, len(audit.pool))",
            "count / n", "pool[name] / max(1, len(audit.pool))"),
    swapped("engine and scale table",
            "file=kept(audit, planned.built if own else planned.engine),\n"
            "        scales=kept(audit, planned.scales)", "file=", "scales="),
    swapped("ops in INT8 and in float",
            "in_int8,\n        in_float,", "in_int8", "in_float"),
    Mutation("all multiply-accumulates for those in INT8",
             "else macs.int8,", "else macs.all,"),
    Mutation("those in INT8 for all multiply-accumulates",
             "macs=macs.all,\n        int8_macs=None if",
             "macs=macs.int8,\n        int8_macs=None if"),
    Mutation("interval of means for all metrics",
             "interval=INTERVALS[metric.kind]", 'interval=INTERVALS["mean"]'),
    swapped("whose amax is whose",
            "127 * each.first, 127 * each.second", "first", "second", COMPARED),
    Mutation("scales for amax",
             "127 * each.first, 127 * each.second", "each.first, each.second", COMPARED),
    Mutation("verdicts in common",
    "verdicts_equal=equal", "verdicts_equal=len(pairs) - equal", COMPARED),
    Mutation("sixth field of a record from the one before",
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
        raise SystemExit(f"{mutation.what}: its text must occur once, in one file: fix it here")
    path, text = fitting[0]
    path.write_text(text.replace(mutation.right, mutation.wrong), encoding="utf-8")
    return path, text


def noticed(tree: Path, first: int = 0) -> str | None:
    """The first test that fails."""
    order = sorted(TESTS, key=lambda name: name != TESTS[first])
    for files in ([order[0]], order[1:]):
        failed = _failed(tree, files)
        if failed is not None:
            return failed
    return None


def _failed(tree: Path, files: list[str]) -> str | None:
    """The first test that fails, in a process that shares the libraries' imports."""
    output = tree / "output.txt"
    child = os.fork()
    if not child:
        with output.open("w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            os.chdir(tree)
            sys.path.insert(0, str(tree))
            os.environ["PYTHONPATH"] = str(tree)
            os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files]))
    _, status = os.waitpid(child, 0)
    if status == 0:
        return None
    lines = output.read_text(encoding="utf-8").splitlines()
    told = [line.split()[1] for line in lines if line.startswith(("FAILED", "ERROR"))]
    return told[0] if told else f"pytest ended with {os.waitstatus_to_exitcode(status)}"


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
            by = noticed(tree, mutation.first)
            path.write_text(text, encoding="utf-8")
            found += by is not None
            print(f"{mutation.what:52} {by or 'NOT NOTICED'}", flush=True)
    print(f"{found} of {len(chosen)} noticed")


if __name__ == "__main__":
    main()
