"""What controls would have cost: told beside the verdict, which looks at candidates alone."""

from calaudit.report.index import Index, cell_parts
from calaudit.report.selected import lost, surest
from calaudit.report.wording import quoted
from calaudit.results.comparison import ALL, Result
from calaudit.runtime.words import visible


def control_sentences(index: Index) -> list[str]:
    """One sentence per control, in the report's order: how many gates it would have broken."""
    recipes = dict.fromkeys(
        index.recipes[each.name] for each in index.report.calibsets if each.role == "control"
    )
    return [told for each in recipes if (told := _sentence(index, each)) is not None]


def _sentence(index: Index, recipe: str) -> str | None:
    drawn = {name for name, own in index.recipes.items() if own == recipe}
    cells = {cell.id for cell in index.report.cells if cell.calibset in drawn}
    gated = [r for r in index.report.results if r.cell in cells and r.gate is not None]
    if not gated:
        return None
    regressed = [r for r in gated if r.verdict == "REGRESSED"]
    text = f"As a candidate, the control {quoted(recipe)} would have "
    if not regressed:
        return f"{text}regressed in none of {len(gated):,} gated comparisons."
    return (
        f"{text}regressed in {len(regressed):,} of {len(gated):,} gated comparisons, the surest: "
        f"{_loss(index, surest(index, regressed))}."
    )


def _loss(index: Index, result: Result) -> str:
    method = quoted(cell_parts(index.cells[result.cell], index.report)[1])
    place = "over everything" if result.slice == ALL else f"on {visible(result.slice)}"
    return f"{method} {lost(index, result)} {place}"
