"""The power contract as ``calaudit slices`` prints it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from calaudit.cli.columns import text_columns

if TYPE_CHECKING:
    from calaudit.slices.sliceset import SliceSummary
    from calaudit.steps.contract import SlicePower


def power_table(
    summaries: Sequence["SliceSummary"],
    power: Mapping[str, "SlicePower"],
    max_drop: float,
    flip_rate: float,
) -> str:
    """One row per slice: its size, the smallest drop it can certify, the samples it would need."""
    clustered = any(each.n_independent != each.n for each in power.values())
    counted = ["independent"] if clustered else []
    rows = [["slice", "n", *counted, "can certify", f"at {100 * max_drop:g} points", "needs"]]
    for each in summaries:
        one = power[each.name]
        least = one.smallest_provable_drop
        proves = "nothing" if least is None else f"{100 * least:.1f} points"
        enough = "enough" if one.enough else "too few"
        needs = "–" if one.n_needed is None else f"{one.n_needed:,}"
        independent = [f"{one.n_independent:,.0f}"] if clustered else []
        rows.append([each.name, f"{each.n:,}", *independent, proves, enough, needs])
    note = (
        f"Of a right/wrong score, with a chance of 80 %, if the engine does no harm and flips "
        f"{100 * flip_rate:g} % of the answers."
    )
    return f"{text_columns(rows, left=frozenset({0, 4 if clustered else 3}))}\n{note}"
