"""What of an engine runs in INT8, in words: with its verdicts, and where engines are listed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from calaudit.report.index import Index, predicts
from calaudit.results.audited import CellRecord, EngineRecord, NodeRecord
from calaudit.runtime.words import counted, visible

SHORT = "†"
"""Stands beside verdicts of engines that run less in INT8 than asked, as far as is known."""
SHORT_LEGEND = "† fewer products in INT8 than requested, or unproven"
UNPROVEN = "INT8 unproven"
NAMED = 3
"""Engines, and products, that are named without being asked for more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Engines of which the same is known."""

    told: str
    """How many products run in the precision that was asked for, and by whose word."""
    cells: tuple[CellRecord, ...]
    nodes: tuple[str, ...]
    """Products that don't run in INT8 or as asked, a line each: those that should first."""

    def engines(self, limit: int | None) -> tuple[str, ...]:
        """Ids of the first engines, `limit` at most, and how many more there are."""
        return _limited([visible(cell.id) for cell in self.cells], limit, "engine")

    def lines(self, limit: int | None) -> tuple[str, ...]:
        """The first of `nodes`, `limit` at most, and how many more there are."""
        return _limited(self.nodes, limit, "product")


def _limited(texts: Sequence[str], limit: int | None, what: str) -> tuple[str, ...]:
    shown = tuple(texts[:limit])
    more = len(texts) - len(shown)
    return (*shown, f"{counted(more, f'more {what}')}") if more else shown


def caveat(cell: CellRecord) -> str:
    """What an INT8 engine's verdict has to be told with; empty where all runs as requested."""
    engine = cell.engine
    if cell.precision != "int8" or engine is None or not engine.asked_ops:
        return ""
    if _unproven(engine):
        return UNPROVEN
    return _in_precision(engine, "INT8") if engine.not_as_asked else ""


def overall_caveat(index: Index) -> str:
    """The same of all candidates that were judged, the worst of them, and of how many."""
    return _joint_caveat(
        cell for cell in index.report.cells if cell.role == "candidate" and cell.status == "judged"
    )


def joint_caveat(index: Index, cells: Iterable[str]) -> str:
    """The same of some cells, for a sentence on all of them."""
    return _joint_caveat(index.cells[each] for each in cells)


def _joint_caveat(cells: Iterable[CellRecord]) -> str:
    engines = [cell for cell in cells if cell.precision == "int8"]
    told = [(cell, caveat(cell)) for cell in engines]
    short = [(cell, words) for cell, words in told if words and words != UNPROVEN]
    unproven = sum(words == UNPROVEN for _, words in told)
    parts = []
    if short:
        _, worst = min(short, key=lambda each: _share(each[0]))
        least = "as few as " if len({words for _, words in short}) > 1 else ""
        parts.append(f"{least}{worst}{_where(len(short), len(engines))}")
    if unproven:
        parts.append(f"{UNPROVEN}{_where(unproven, len(engines))}")
    return " and ".join(parts)


def _where(some: int, of: int) -> str:
    if of == 1:
        return ""
    return f" in each of {of} engines" if some == of else f" in {some} of {of} engines"


def _share(cell: CellRecord) -> float:
    """Of multiply-accumulates in INT8, or else of products."""
    engine = cell.engine
    if engine is None:
        return 1.0
    if engine.int8_share is not None:
        return engine.int8_share
    asked = sum(engine.asked_ops.values())
    return 1 - len(engine.not_as_asked) / max(1, asked)


def overall_verdict_text(index: Index) -> str:
    """The verdict of the whole, such as ``"PASS, but 22 of 28 products in INT8"``.

    Where it rests on predictions it says so: ``"PASS (predicted)"``.
    """
    judged, guessed = _judged(index), _predicted(index)
    verdict: str = index.report.verdict
    if guessed:
        some = f"{len(guessed)} of {len(judged)} engines "
        verdict += f" ({'' if len(guessed) == len(judged) else some}predicted)"
    return with_caveat(verdict, overall_caveat(index))


def prediction_sentence(index: Index) -> str:
    """``"4 of 6 engines are predictions of …"``, of those that decide; empty where none is."""
    judged, guessed = _judged(index), _predicted(index)
    if not guessed:
        return ""
    what = " and ".join(dict.fromkeys(visible(predicts(cell)) for cell in guessed))
    if len(judged) == 1:
        return f"the engine is a prediction of {what}"
    some = f"{len(guessed)} of {len(judged)}"
    are = "is a prediction" if len(guessed) == 1 else "are predictions"
    return f"{f'all {len(judged)}' if guessed == judged else some} engines {are} of {what}"


def _judged(index: Index) -> list[CellRecord]:
    """Engines that the verdict rests on; where every one is a control, those that are shown."""
    judged = [c for c in index.report.cells if c.status == "judged" and c.precision != "fp32"]
    return [cell for cell in judged if cell.id not in index.controls] or judged


def _predicted(index: Index) -> list[CellRecord]:
    return [cell for cell in _judged(index) if predicts(cell)]


def with_caveat(verdict: str, told: str) -> str:
    """A verdict, or its word, and what has to be told with it."""
    if not told:
        return verdict
    return f"{verdict}, {'but' if verdict.lower().startswith('pass') else 'with'} {told}"


def share_of_macs(engine: EngineRecord) -> str:
    """``"96 % of MACs"``; empty where it is unknown."""
    share = engine.int8_share
    if share is None:
        return ""
    known = " that are counted" if engine.uncounted else ""
    return f"{shown_share(share)} of MACs{known}"


def shown_share(share: float) -> str:
    """A share in percent, three digits, never rounded to all or nothing: ``"> 99.9 %"``."""
    text = f"{100 * share:.3g}"
    if share < 1 and text == "100":
        return "> 99.9 %"
    return "< 0.1 %" if 0 < share < 0.001 else f"{text} %"


def standings(index: Index) -> Iterator[Standing]:
    """Engines that were asked for less than FP32, those of which the same is known together."""
    grouped: dict[tuple[str, tuple[str, ...]], list[CellRecord]] = defaultdict(list)
    for cell in index.report.cells:
        engine = cell.engine
        told = "" if engine is None else precision_told(cell, engine)
        if engine is not None and told:
            nodes = (*engine.not_as_asked, *engine.left_float)
            grouped[told, tuple(_node_told(engine, node) for node in nodes)].append(cell)
    for (told, lines), cells in grouped.items():
        yield Standing(told, tuple(cells), lines)


def precision_told(cell: CellRecord, engine: EngineRecord) -> str:
    """What runs in the precision that was asked for, and by whose word; empty for FP32."""
    if cell.precision == "fp32" or not engine.asked_ops:
        return ""
    if _unproven(engine):
        asked = counted(sum(engine.asked_ops.values()), "product")
        told = f"{asked} requested in {cell.precision.upper()}, unproven: {told_by(engine)} tells"
    else:
        told = f"{_in_precision(engine, cell.precision.upper())}, by {visible(told_by(engine))}"
    return "; ".join(filter(None, (told, left_as_asked(engine))))


def left_as_asked(engine: EngineRecord) -> str:
    """``"2 products left in float as asked (4 % of MACs)"``; empty where none is."""
    if not engine.exempt:
        return ""
    share = engine.exempt_share
    cost = "" if share is None else f" ({shown_share(share)} of MACs)"
    return f"{counted(len(engine.exempt), 'product')} left in float as asked{cost}"


def told_by(engine: EngineRecord) -> str:
    """Who says what the products run in."""
    if engine.proof is None:
        return "nobody" if engine.asked_ops and _unproven(engine) else "the graph"
    return f"the {engine.proof}"


def _in_precision(engine: EngineRecord, precision: str) -> str:
    """``"22 of 28 products in INT8 (96 % of MACs)"``."""
    asked = sum(engine.asked_ops.values())
    got = asked - len(engine.not_as_asked)
    unknown = sum(each.got is None for each in engine.not_as_asked)
    doubt = f", {unknown} unproven" if unknown else ""
    macs = share_of_macs(engine) if precision == "INT8" else ""
    least = "at least " if unknown else ""
    share = f" ({least}{macs})" if macs and (engine.int8_macs or not unknown) else ""
    return f"{got:,} of {asked:,} products in {precision}{doubt}{share}"


def _unproven(engine: EngineRecord) -> bool:
    """Whether nobody says what runs in which precision, though the library chooses."""
    return engine.proof is None and not engine.quantized_ops


def _node_told(engine: EngineRecord, node: NodeRecord) -> str:
    """``"Conv c3 in FP32 (1.5 % of MACs): depthwise"``."""
    got = f"in {visible(node.got.upper())}" if node.got else "unknown"
    share = None if node.macs is None or not engine.macs else node.macs / engine.macs
    macs = "" if share is None else f" ({shown_share(share)} of MACs)"
    return f"{visible(node.op_type)} {visible(node.node)} {got}{macs}: {visible(node.reason)}"
