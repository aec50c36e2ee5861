"""What trtexec measured: the JSON of ``--exportTimes``, ``--exportProfile``, ``--exportLayerInfo``.

As written by samples/common/sampleReporting.cpp of TensorRT, releases 7 to 11. *Times*: a list with
an object per query, milliseconds on the GPU's clock; ``inMs`` and ``outMs`` became ``h2dMs`` and
``d2hMs`` in 8, ``endToEndMs`` went in 8.6, with the queries of the warm-up. *Profile*: a list whose
first object has the ``count`` of queries, then one per layer (``medianMs`` from 8.6 on). *Layers*:
the engine inspector's object, of ``Layers`` and ``Bindings``; layers are names alone where the
engine was built without ``--profilingVerbosity=detailed``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.runtime.errors import FileFormatError

WARM_UP: Final = 200.0
"""Milliseconds that trtexec warms up for where nobody says otherwise; older releases write them
down, too."""
_MOST_BYTES: Final = 512 << 20
_STARTS: Final = ("startH2dMs", "startInMs")
_ENDS: Final = ("endD2hMs", "endOutMs")
_WRITE: Final = (
    "trtexec writes what is read here with --exportTimes=times.json, --exportProfile=profile.json "
    "and --exportLayerInfo=layers.json."
)


@dataclass(frozen=True, slots=True, eq=False)
class TrtexecTimes:
    """Queries of one run of trtexec, after its warm-up."""

    latency_ms: NDArray[np.float64]
    """(n,), copies in, computing and copies out, by the GPU's events: not waiting in between, nor
    the host."""
    device_ms: NDArray[np.float64]
    """(n,), of these the computing."""
    seconds: float
    """From the first copy in to the end of the last copy out."""
    warm: int
    """Queries that were left out, since they began in the first `WARM_UP` milliseconds."""


@dataclass(frozen=True, slots=True)
class TrtexecProfile:
    """Layers of one run of trtexec."""

    count: int
    """Queries that were profiled."""
    ms: Mapping[str, float]
    """Layer → mean milliseconds per query, in the order they run; of one name, their sum."""


@dataclass(frozen=True, slots=True)
class TrtexecLayers:
    """An engine's layers, as its inspector tells of them."""

    layers: tuple[Mapping[str, Any], ...]
    """Those that tell more than their name."""
    names: tuple[str, ...]
    """Of all."""
    batch: int | None
    """Samples of a batch, by the first input's shape; None where it doesn't tell."""


@dataclass(frozen=True, slots=True)
class TrtexecFiles:
    """What was given of one engine; None: not given."""

    times: TrtexecTimes | None = None
    profile: TrtexecProfile | None = None
    layers: TrtexecLayers | None = None


def open_trtexec(paths: Sequence[Path]) -> TrtexecFiles:
    """Read files of one engine, in any order: their content says what they are.

    Raises
    ------
    FileFormatError
        One can't be read, is none of the three, is cut off or holds what can't be; or two are of
        one kind.
    """
    found = TrtexecFiles()
    for path in paths:
        content = _json(path)
        kind, read = _kind(path, content)
        if getattr(found, kind) is not None:
            raise _wrong(path, f"is another file of {kind}, where one was given")
        found = replace(found, **{kind: read(path, content)})
    if found.times is None and found.profile is None:
        last = paths[-1] if paths else "trtexec's files"
        raise _wrong(last, "tells no times: --exportTimes' or --exportProfile's file is needed")
    return found


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _wrong(path, f"has more than {_MOST_BYTES >> 20} MiB")
        # names are written as they are: control characters stand in them, which JSON forbids
        return json.loads(path.read_text(encoding="utf-8"), strict=False)
    except OSError as error:
        raise _wrong(path, f"can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _wrong(path, f"isn't text: byte {error.start} is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise _wrong(path, f"isn't JSON in line {error.lineno}: {error.msg}; cut off?") from None
    except RecursionError:
        raise _wrong(path, "isn't one of trtexec's files: nested too deeply") from None


def _kind(path: Path, content: Any) -> tuple[str, Any]:
    """Which of the three a file is, and what reads it."""
    if isinstance(content, Mapping) and "Layers" in content:
        return "layers", _layers
    if isinstance(content, list) and not content:
        raise _wrong(path, "holds no query: trtexec ended before it measured")
    if isinstance(content, list) and isinstance(content[0], Mapping):
        if "count" in content[0]:
            return "profile", _profile
        if "latencyMs" in content[0]:
            return "times", _times
    raise _wrong(path, "is none of trtexec's files: no queries, no profile, no layers")


def _times(path: Path, content: list[Any]) -> TrtexecTimes:
    first = content[0]
    start = next((key for key in _STARTS if key in first), None)
    end = next((key for key in _ENDS if key in first), None)
    if start is None or end is None:
        lacking = _STARTS if start is None else _ENDS
        raise _wrong(path, f"its first query has no {lacking[0]}, and no {lacking[1]}")
    keys = ("latencyMs", "computeMs", start, end)
    values = np.array(
        [[_number(path, f"query {n}", each, key) for key in keys] for n, each in enumerate(content)]
    )
    if (values[:, :2] < 0).any() or not values[:, 0].any():
        place = int(np.argmax((values[:, :2] < 0).any(1)))
        raise _wrong(path, f"query {place} takes {values[place, 0]:g} ms")
    kept = values[values[:, 2] >= WARM_UP]
    kept = kept if len(kept) else values
    seconds = (kept[:, 3].max() - kept[:, 2].min()) / 1e3
    if seconds <= 0:
        raise _wrong(path, f"its queries end before they begin ({start}, {end})")
    warm = len(values) - len(kept)
    return TrtexecTimes(kept[:, 0].copy(), kept[:, 1].copy(), float(seconds), warm)


def _profile(path: Path, content: list[Any]) -> TrtexecProfile:
    count = int(_number(path, "the first object", content[0], "count"))
    if count < 1:
        raise _wrong(path, f"has a count of {count} queries")
    if len(content) == 1:
        raise _wrong(path, "has no layers")
    ms: dict[str, float] = {}
    for number, layer in enumerate(content[1:], 1):
        place = f"layer {number}"
        mean = _number(path, place, layer, "averageMs")
        name = layer.get("name")
        if not isinstance(name, str) or not name:
            raise _wrong(path, f"{place} has no name")
        if mean < 0:
            raise _wrong(path, f"{place}, {name}, takes {mean:g} ms")
        ms[name] = ms.get(name, 0.0) + mean
    if not any(ms.values()):
        raise _wrong(path, "no layer takes any time")
    return TrtexecProfile(count, ms)


def _layers(path: Path, content: Mapping[str, Any]) -> TrtexecLayers:
    listed = content["Layers"]
    if not isinstance(listed, list) or not listed:
        raise _wrong(path, "has no layers")
    names, told = [], []
    for number, layer in enumerate(listed):
        name = layer.get("Name") if isinstance(layer, Mapping) else layer
        if not isinstance(name, str):
            raise _wrong(path, f"layer {number} has no name")
        names.append(name)
        if isinstance(layer, Mapping):
            told.append(layer)
    return TrtexecLayers(tuple(told), tuple(names), _batch(content.get("Bindings"), told))


def _batch(bindings: Any, layers: Sequence[Mapping[str, Any]]) -> int | None:
    """First size of the first tensor that is read and is one of the engine's own."""
    known = bindings if isinstance(bindings, list) else []
    for layer in layers:
        read = layer.get("Inputs")
        for tensor in read if isinstance(read, list) else ():
            if not isinstance(tensor, Mapping) or tensor.get("Name") not in known:
                continue
            shape = tensor.get("Dimensions")
            if isinstance(shape, list) and shape and isinstance(shape[0], int) and shape[0] > 0:
                return shape[0]
    return None


def _number(path: Path, place: str, of: Any, key: str) -> float:
    value = of.get(key) if isinstance(of, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(path, f"{place} has {value!r} in {key}, expected a number")
    return float(value)


def _wrong(where: object, message: str) -> FileFormatError:
    return FileFormatError(message, where=where, next_step=_WRITE)
