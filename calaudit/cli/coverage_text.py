"""How well calibration sets cover the ranges of slices, as text and for JSON."""

from typing import TYPE_CHECKING, Any, Final

from calaudit.cli.output import text_columns
from calaudit.runtime.words import counted, visible

if TYPE_CHECKING:
    from calaudit.steps.range_coverage import RangeCoverage

_FEW: Final = 15
"""Slices that are shown."""


def coverage_text(found: "RangeCoverage") -> str:
    """A table of slices, those first that are covered worst, and a sentence for each set."""
    columns = _columns(found)
    beyond = found.harm.max(axis=1) - found.least
    order = sorted(range(len(found.slices)), key=lambda place: -float(beyond[place]))
    rows = [["slice", "samples", "least", *(heading for heading, _, _ in columns)]]
    for place in order[:_FEW]:
        harms = [
            f"{found.harm[place, table]:.2g}{f' {found.methods[table]}' if named else ''}"
            for _, table, named in columns
        ]
        rows.append(
            [
                visible(found.slices[place]),
                f"{found.n[place]:,}",
                f"{found.least[place]:.2g}",
                *harms,
            ]
        )
    lines = ["Predicted harm to each slice (squared error over signal power, all taps):", ""]
    lines.append(text_columns(rows))
    if len(order) > _FEW:
        lines.append(f"… and {counted(len(order) - _FEW, 'more slice', 'more slices')}")
    lines.append("")
    for calibset in dict.fromkeys(found.calibsets):
        best = found.best(calibset)
        slice_name, times = found.worst_covered(best)
        lines.append(
            f"{visible(calibset)}, {found.methods[best]}: farthest from the least possible is "
            f"{visible(slice_name)}, {times:.3g} times it"
        )
    lines.append(f"Whatever the ranges, some slice's harm is at least {found.bound:.2g}.")
    return "\n".join(lines)


def _columns(found: "RangeCoverage") -> list[tuple[str, int, bool]]:
    """Heading, table, and whether its method stands with the numbers: of many only the best."""
    columns: list[tuple[str, int, bool]] = []
    for calibset in dict.fromkeys(found.calibsets):
        own = [place for place, name in enumerate(found.calibsets) if name == calibset]
        few = len(own) <= 2
        shown = [place for place in own if few or found.methods[place] == "minmax"]
        name = visible(calibset)
        columns += [(f"{name} {found.methods[place]}", place, False) for place in shown]
        if not few:
            columns.append((f"{name} best", found.best(calibset), True))
    return columns


def coverage_json(found: "RangeCoverage") -> dict[str, Any]:
    """The same as JSON values, every table's numbers."""
    return {
        "bound": found.bound,
        "slices": [
            {"slice": name, "samples": n, "least": least}
            for name, n, least in zip(found.slices, found.n, found.least.tolist(), strict=True)
        ],
        "tables": [
            {"calibset": calibset, "method": method, "harm": harm.tolist()}
            for calibset, method, harm in zip(
                found.calibsets, found.methods, found.harm.T, strict=True
            )
        ],
    }
