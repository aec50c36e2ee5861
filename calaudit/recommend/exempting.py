"""The fewest products to leave in float, sought from the best ranges on."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Final

from calaudit.audit.exemptions import FORBIDDEN
from calaudit.explain.exemptions import Exempted, Ops, Rows, search_exemptions
from calaudit.explain.kept import output_values
from calaudit.explain.sensitivity import relative_error
from calaudit.recommend.options import Candidate
from calaudit.recommend.trials import Trials
from calaudit.results.audited import with_exemption
from calaudit.results.recommendation import Remedy
from calaudit.statistics.choice import Standing

_NAMED: Final = 3
"""Products that an exemption is called by."""


def exempt(
    bench: Trials,
    start: Candidate,
    macs: Mapping[str, int | None],
    seed: int,
    *,
    taken: Collection[str] = (),
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
    taken : collection of str
        Names of exemptions that mean other products.
    """
    own = frozenset(start.float_ops)
    products = {name: macs.get(name) for name in bench.experiments.products if name not in own}

    def judge(ops: Ops) -> Standing:
        (found,) = bench.standings([_with(start, ops)])
        return found

    found = search_exemptions(products, judge, _loss(bench, start), len(bench.rows), seed=seed)
    name = exemption_name(found.float_ops, taken)
    return replace(
        _with(start, frozenset(found.float_ops)),
        name=with_exemption(_without_exemption(start), name) or start.name,
        remedy=Remedy.FLOAT_OPS,
        exemption=name,
    ), found


def exemption_name(ops: Sequence[str], taken: Collection[str] = ()) -> str:
    """An exemption called by its products, which ids can hold and no other one has.

    Examples
    --------
    >>> exemption_name(["/head/fc1"]), exemption_name(["fc1"], {"fc1"})
    ('head.fc1', 'fc1-2')
    >>> exemption_name(["stem", "body", "fc1", "head"])
    'stem-body-fc1-and-1-more'
    """
    more = len(ops) - _NAMED
    words = [re.sub(rf"[\s{re.escape(FORBIDDEN)}]+", ".", op).strip(".") for op in ops[:_NAMED]]
    name = "-".join([*filter(None, words), *([f"and-{more}-more"] if more > 0 else [])])
    name = name or "in-float"
    numbered = (f"{name}-{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def _without_exemption(start: Candidate) -> str:
    return start.name if start.exemption is None else start.name.replace(f"+{start.exemption}", "")


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
        before, after = (output_values(each, wanted, rows) for each in (exact, rounded))
        counted = [name for name, own in before.items() if own.dtype.kind == "f"]
        return relative_error(after, before, counted) if counted else float("nan")

    return loss
