"""What the calibration sets hold: one card and one panel of the chart per recipe, and a table."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from calaudit.report.index import set_label
from calaudit.report.wording import MISSING
from calaudit.results.audited import CalibsetRecord, CompositionRow
from calaudit.results.report import Report
from calaudit.runtime.words import visible


def _held(report: Report) -> list[str]:
    """Slices that any calibration set tells about, in the first one's order."""
    return list(dict.fromkeys(row.slice for each in report.calibsets for row in each.composition))


class RecipeCard(NamedTuple):
    """What calibration sets were drawn by, and what came of it."""

    label: str
    method: str
    size: str
    """Samples of each draw."""
    worth: str
    """Kish's effective size where weights make it smaller; else empty."""
    draws: int
    shortages: tuple[str, ...]


def _by_recipe(report: Report) -> dict[str, list[CalibsetRecord]]:
    found: dict[str, list[CalibsetRecord]] = {}
    for each in report.calibsets:
        found.setdefault(set_label(each.recipe or each.name, each.role), []).append(each)
    return found


def make_recipes(report: Report) -> list[RecipeCard]:
    """The calibration sets, draws of one recipe as one."""
    return [_recipe(label, draws) for label, draws in _by_recipe(report).items()]


def _recipe(label: str, draws: Sequence[CalibsetRecord]) -> RecipeCard:
    worth = [
        d.kish_n_eff for d in draws if d.kish_n_eff is not None and round(d.kish_n_eff) < d.size
    ]
    return RecipeCard(
        visible(label),
        visible(draws[0].method),
        _range([each.size for each in draws]),
        _range(worth) if worth else "",
        len(draws),
        tuple(dict.fromkeys(visible(n.message) for each in draws for n in each.shortages)),
    )


def _range(counts: Sequence[float]) -> str:
    low, high = f"{min(counts):,.0f}", f"{max(counts):,.0f}"
    return low if low == high else f"{low} to {high}"


def recipes_of(report: Report) -> dict[str, tuple[str, int]]:
    """Calibration set → its recipe's label, and that one's place among all: its colour."""
    recipes = enumerate(_by_recipe(report).items())
    return {each.name: (visible(label), i) for i, (label, draws) in recipes for each in draws}


def sets_document(report: Report) -> dict[str, Any]:
    """What each recipe's sets hold of each slice, on average, as JSON values for the scripts."""
    held = _held(report)
    place = {name: i for i, name in enumerate(held)}
    return {
        "held": [visible(name) for name in held],
        "sets": [
            {"name": visible(label), "rows": _mean_rows(draws, place)}
            for label, draws in _by_recipe(report).items()
        ],
    }


def _mean_rows(draws: Sequence[CalibsetRecord], place: Mapping[str, int]) -> list[list[Any]]:
    found: dict[str, list[CompositionRow]] = {}
    for each in draws:
        for row in each.composition:
            found.setdefault(row.slice, []).append(row)
    return [
        [
            place[name],
            _mean([row.n for row in rows]),
            _mean([row.share for row in rows]),
            _mean([row.pool_share for row in rows]),
        ]
        for name, rows in found.items()
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return _short(fmean(told)) if told else None


def _short(share: float | None) -> float | None:
    return None if share is None else float(f"{share:.5g}")


def make_holdings(report: Report) -> list[dict[str, Any]]:
    """What each calibration set holds of each slice, as texts: a row per slice, the pool beside."""
    held: list[dict[str, CompositionRow]] = [
        {row.slice: row for row in each.composition} for each in report.calibsets
    ]
    rows = []
    for name in _held(report):
        shares = [each[name].pool_share for each in held if name in each]
        told = [share for share in shares if share is not None]
        rows.append(
            {
                "slice": visible(name),
                "pool": _percent(told[0]) if told else MISSING,
                "shares": [
                    _percent(each[name].share) if name in each else MISSING for each in held
                ],
            }
        )
    return rows


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{100 * share:.1f} %"
