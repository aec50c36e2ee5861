"""A scale table for the network that a TensorRT has parsed: whatever it asks for has a range.

Tables of ours number the parser's own tensors as TensorRT 8.5 does. Another release may number them
otherwise, so they are told by what stands before them: the tensor of the model, the kind of layer,
and which of its kind.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from calaudit.calibration.scales import (
    DEAD_AMAX,
    ScaleTable,
    TapScale,
    is_importer_made,
    scale_of,
)
from calaudit.runtime.errors import BackendError, Notice
from calaudit.runtime.words import counted, first_of

_KIND: Final = re.compile(r"\[([^\]]*)\]_output")
_FLOATS: Final = frozenset({"FLOAT", "HALF"})
_HANDS_ON: Final = frozenset({"SHUFFLE", "IDENTITY", "SLICE"})
"""Layers that make no other values than they read."""
_SHOWN: Final = 5

Place = tuple[str, str, int]
"""The model's tensor before one of the parser's, the layer's kind, and which of them."""


@dataclass(frozen=True, slots=True)
class AskedTensor:
    """A float tensor of a parsed network."""

    name: str
    made_by: str
    """Type of its layer, as TensorRT calls it: ``"SHUFFLE"``."""
    source: str | None
    """The first tensor that the layer reads."""
    amax: float | None
    """Of a constant."""
    fixed: bool
    """Computed of constants alone, so that TensorRT computes it while it builds."""


def asked_tensors(layers: Iterable[Mapping[str, Any]]) -> Iterator[AskedTensor]:
    """Tensors that a calibration gives ranges to, of layers in the parser's order.

    Parameters
    ----------
    layers : iterable of mapping
        ``type``, ``inputs`` (names), ``outputs`` (``name``, ``dtype``, ``shape``); of a constant
        ``amax``. Numbers without axes have no range, nor has what a loop computes.
    """
    in_loop = False
    constants: set[str] = set()
    for layer in layers:
        fixed = layer["type"] == "CONSTANT" or (
            bool(layer["inputs"]) and constants.issuperset(layer["inputs"])
        )
        if fixed:
            constants.update(output["name"] for output in layer["outputs"])
        in_loop = layer["type"] == "TRIP_LIMIT" or (in_loop and layer["type"] != "LOOP_OUTPUT")
        if in_loop:
            continue
        for output in layer["outputs"]:
            if output["dtype"] in _FLOATS and len(output["shape"]):
                source = next((name for name in layer["inputs"] if name), None)
                amax = layer.get("amax") if layer["type"] == "CONSTANT" else None
                yield AskedTensor(output["name"], layer["type"], source, amax, fixed)


def complete_table(
    table: ScaleTable, inputs: Sequence[str], asked: Sequence[AskedTensor], *, where: str
) -> tuple[ScaleTable, tuple[Notice, ...]]:
    """The table by the names of a parsed network, with a range for all that is asked for.

    What it lacks is taken from the tensor that a reshaping or slicing layer reads, or from a
    constant's own largest magnitude, which a notice says.

    Parameters
    ----------
    table : ScaleTable
        In the order of the network that it was made for.
    inputs : sequence of str
        The network's.
    asked : sequence of AskedTensor
        From `asked_tensors`.
    where : str
        What messages call the model.

    Raises
    ------
    BackendError
        Tensors that nobody has a range of: TensorRT would run the layers around them in float.
    """
    own = {name for name in table.taps if not is_importer_made(name)}
    here = dict(_places(table.taps, own))
    there = dict(_places([*inputs, *(each.name for each in asked)], own))
    alike = _alike(here.values(), there.values())
    by_place = {here[name]: tap for name, tap in table.taps.items() if name in here}
    taps = {name: tap for name, tap in table.taps.items() if name in own}
    from_constants, missing = [], []
    for each in asked:
        if each.name in taps:
            continue
        place = there[each.name]
        found = by_place.get(place) if place[:2] in alike else None
        if found is None and each.made_by in _HANDS_ON:
            found = taps.get(str(each.source))
        if found is None and each.amax is not None:
            amax = each.amax or DEAD_AMAX
            found = TapScale(amax, scale_of(amax))
            from_constants.append(each.name)
        if found is not None:
            taps[each.name] = found
        elif not each.fixed:
            missing.append(each.name)
    if missing:
        raise BackendError(
            f"no range for {counted(len(missing), 'tensor')} that TensorRT asks for, so the layers "
            f"around would run in float: {first_of(missing[:_SHOWN], len(missing))}",
            where=where,
            next_step="Calibrate the model as TensorRT is given it: calaudit cache write, or an "
            'audit with int8 = "implicit". Of operators whose layers aren\'t known nobody can.',
        )
    notices = []
    if from_constants:
        names = first_of(from_constants[:_SHOWN], len(from_constants))
        message = f"min-max ranges for constants that the scale table lacks: {names}"
        notices.append(Notice("constant_ranges", message, where))
    return replace(table, taps=taps), tuple(notices)


def _alike(here: Iterable[Place], there: Iterable[Place]) -> set[tuple[str, str]]:
    """Where both parsers add as many tensors of a kind, so that they are the same ones."""
    first, second = (Counter(place[:2] for place in each) for each in (here, there))
    return {place for place, n in first.items() if second[place] == n}


def _places(names: Iterable[str], own: set[str]) -> Iterator[tuple[str, Place]]:
    """Where each of the parser's tensors stands among the model's own."""
    before, seen = "", Counter[str]()
    for name in names:
        if name in own:
            before, seen = name, Counter()
            continue
        match = _KIND.search(name)
        kind = name if match is None else match.group(1)
        yield name, (before, kind, seen[kind])
        seen[kind] += 1
