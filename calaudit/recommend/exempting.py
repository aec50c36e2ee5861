"""The fewest products to leave in float, sought from the best ranges on."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from calaudit.explain.exemptions import Exempted, Ops, Rows, search_exemptions
from calaudit.explain.sensitivity import relative_error
from calaudit.recommend.options import Candidate
from calaudit.recommend.trials import Trials
from calaudit.results.recommendation import Remedy
from calaudit.statistics.choice import Standing


def exempt(
    bench: Trials, start: Candidate, macs: Mapping[str, int | None], seed: int
) -> tuple[Candidate, Exempted]:
    """The same ranges with as few products in float as let the gates pass on the tuning rows.

    Where none do, with those that leave most of the gate.

    Parameters
    ----------
    bench : Trials
    start : Candidate
        The best without.
    macs : mapping
        Product → multiply-accumulates per sample.
    seed : int
    """
    own = frozenset(start.float_ops)
    products = {name: macs.get(name) for name in bench.experiments.products if name not in own}

    def judge(ops: Ops) -> Standing:
        (found,) = bench.standings([_with(start, ops)])
        return found

    found = search_exemptions(products, judge, _loss(bench, start), len(bench.rows), seed=seed)
    return replace(
        _with(start, frozenset(found.float_ops)),
        name=f"{start.name}, {len(found.float_ops)} in float",
        remedy=Remedy.FLOAT_OPS,
    ), found


def _with(start: Candidate, ops: Ops) -> Candidate:
    more = tuple(sorted(ops.difference(start.float_ops)))
    return replace(start, float_ops=(*start.float_ops, *more))


def _loss(bench: Trials, start: Candidate) -> Callable[[Ops, Rows], float]:
    """Squared error of the judged outputs over their variance, on some tuning rows."""

    def loss(ops: Ops, places: Rows) -> float:
        rows = bench.rows[places]
        exact = bench.answers(bench.experiments.fp32(), rows)
        rounded = bench.answers(bench.engine(_with(start, ops)), rows)
        wanted = {name for one in bench.eval_sets for name in one.output.split(", ")}
        pairs = {name: (rounded.read(name, rows), exact.read(name, rows)) for name in wanted}
        counted = [name for name, (_, own) in pairs.items() if own.dtype.kind == "f"]
        if not counted:
            return float("nan")
        return relative_error(
            {name: pair[0] for name, pair in pairs.items()},
            {name: pair[1] for name, pair in pairs.items()},
            counted,
        )

    return loss
