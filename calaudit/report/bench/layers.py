"""Where the time of engines goes, layer by layer, as their libraries tell it."""

from collections.abc import Iterator, Sequence
from typing import Final

from calaudit.report.bench.gains import first_gains
from calaudit.report.bench.measured import Bench
from calaudit.report.bench.sentence import point_to_ship
from calaudit.report.bench.wording import three_digits
from calaudit.report.wording import MISSING
from calaudit.results.bench import BenchedEngine, LayerTime
from calaudit.runtime.words import counted, first_of, visible

LAYERS: Final = ("engine", "layer", "of", "kind", "runs in", "ms", "share")
"""Headings of the rows."""
SHOWN_ENGINES, SHOWN_LAYERS, SHOWN_NODES = 6, 6, 2
Row = tuple[str, ...]


def layer_rows(bench: Bench) -> list[Row]:
    """The longest layers of float engines, of what may ship and of the Pareto set."""
    shown = [each for each in _shown(bench) if each.layers][:SHOWN_ENGINES]
    return [row for each in shown for row in _rows(bench.name(each), each)]


def _shown(bench: Bench) -> Iterator[BenchedEngine]:
    for target in bench.targets:
        gains = first_gains(bench, target)
        kept = set() if gains is None else {p.engine.key for p in gains.points if p.pareto}
        ships = None if gains is None else point_to_ship(bench, gains)
        kept |= set() if ships is None else {ships.engine.key}
        for engine in bench.on(target):
            if (engine.precision in {"fp32", "fp16"} and not engine.variant) or engine.key in kept:
                yield engine


def _rows(name: str, engine: BenchedEngine) -> Iterator[Row]:
    at = "" if engine.layers_batch is None else f", batch {engine.layers_batch:,}"
    ordered = sorted(engine.layers, key=lambda layer: -layer.ms)
    for layer in ordered[:SHOWN_LAYERS]:
        yield (
            f"{name}{at}",
            visible(layer.name),
            _nodes(layer),
            visible(layer.kind),
            MISSING if layer.precision is None else visible(layer.precision.upper()),
            three_digits(layer.ms),
            f"{100 * layer.share:.0f} %",
        )
    rest = ordered[SHOWN_LAYERS:]
    if rest:
        yield _together(f"{name}{at}", rest)


def _together(name: str, rest: Sequence[LayerTime]) -> Row:
    ms, share = sum(each.ms for each in rest), sum(each.share for each in rest)
    more = counted(len(rest), "more layer")
    return name, more, "", "", "", three_digits(ms), f"{100 * share:.0f} %"


def _nodes(layer: LayerTime) -> str:
    names = [visible(each) for each in layer.nodes[:SHOWN_NODES]]
    return first_of(names, len(layer.nodes))
