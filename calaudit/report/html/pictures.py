"""Samples to look at: pictures of model inputs, and what is told beside them."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calaudit.report.index import Index
from calaudit.report.wording import difference, in_sentence, score, unit_name
from calaudit.results.drops import Exemplar, Exemplars
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted, plural, visible

SMALLEST_IMAGE, LARGEST_IMAGE = 4, 160
"""Pixels of a side: smaller arrays are no images, larger ones are thinned out."""
SHORTEST_WAVE = 256
"""Values below which a vector isn't drawn as a waveform."""
WAVE_COLUMNS, WAVE_HEIGHT = 240, 64
SHOWN_SLICES = 2


@dataclass(frozen=True, slots=True)
class Picture:
    """A sample's first input that can be drawn: an image, or a waveform."""

    image: str = ""
    """PNG as a data address."""
    path: str = ""
    """SVG path in a box of 240 × 64."""


def draw_samples(pool: Pool, ids: Iterable[str]) -> dict[str, Picture]:
    """Pictures of some samples by id; those that can't be drawn, or aren't there, are left out."""
    wanted = set(ids)
    if not wanted:
        return {}
    rows: Rows = np.arange(len(pool), dtype=np.int64)
    known = pool.ids(rows)
    chosen = rows[np.isin(known, list(wanted))]
    if not len(chosen):
        return {}
    found: dict[str, Picture] = {}
    for values in pool.read_inputs(chosen).values():
        for row, sample in zip(chosen, values, strict=True):
            picture = draw_sample(sample)
            if picture is not None:
                found.setdefault(str(known[row]), picture)
    return found


def draw_sample(values: NDArray[Any]) -> Picture | None:
    """An image for a grid of values, a waveform for a long vector, None for anything else.

    Parameters
    ----------
    values : array
        One sample: (H, W), (channels, H, W) or (H, W, channels) with 1 or 3 channels, or (n,);
        axes of length 1 count for nothing. Images are stretched from the smallest to the largest
        value.
    """
    if values.dtype.kind not in "fiu":
        return None
    values = np.squeeze(values.astype(np.float64))
    if values.ndim == 3 and values.shape[0] == 3:
        values = np.moveaxis(values, 0, -1)
    grid = values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)
    if grid and min(values.shape[:2]) >= SMALLEST_IMAGE:
        return Picture(image=_png(values))
    if values.ndim == 1 and len(values) >= SHORTEST_WAVE:
        return Picture(path=_wave(values))
    return None


def _png(values: NDArray[np.float64]) -> str:
    steps = [-(-side // LARGEST_IMAGE) for side in values.shape[:2]]
    values = values[:: steps[0], :: steps[1]]
    # halves: the span of values near the largest float isn't a float
    low, high = float(values.min()) / 2, float(values.max()) / 2
    pixels = (255 * ((values / 2 - low) / ((high - low) or 1.0))).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _wave(values: NDArray[np.float64]) -> str:
    """The envelope: from the largest to the smallest value of each column."""
    parts = np.array_split(values / (np.abs(values).max() or 1.0), WAVE_COLUMNS)
    half = WAVE_HEIGHT / 2
    tops = [f"{i} {half - half * 0.95 * part.max():.1f}" for i, part in enumerate(parts)]
    ends = [f"{i} {half - half * 0.95 * part.min() + 0.6:.1f}" for i, part in enumerate(parts)]
    return f"M{'L'.join([*tops, *reversed(ends)])}Z"


def make_samples(index: Index, pictures: Mapping[str, Picture]) -> list[dict[str, Any]]:
    """The report's exemplars as texts and pictures."""
    return [_group(index, each, pictures) for each in index.report.exemplars if each.shown]


def _group(index: Index, found: Exemplars, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    metric = index.metrics[found.metric]
    units = found.unit if found.flipping == 1 else plural(found.unit)
    note = (
        f"{found.flipping:,} {visible(units)} change under more than half of "
        f"{counted(found.engines, 'engine')}"
    )
    if found.flipping > len(found.shown):
        note += f"; the first {len(found.shown):,} of them"
    return {
        "title": f"By {in_sentence(metric)}",
        "note": f"{note}.",
        "shown": [
            {
                "id": visible(each.id),
                "picture": pictures.get(each.id),
                "counts": _counts(index, found, each),
                "slices": _slices(each),
            }
            for each in found.shown
        ],
    }


def _counts(index: Index, found: Exemplars, one: Exemplar) -> str:
    metric = index.metrics[found.metric]
    told = {"worse": one.lost, "better": one.gained}
    parts = [f"{word} under {count:,}" for word, count in told.items() if count]
    text = f"{', '.join(parts)} of {counted(found.engines, 'engine')}"
    if metric.kind == "binary":
        return text
    drop = f"{difference(metric, one.mean_drop)} {unit_name(metric)}".rstrip()
    return f"{text}; FP32 {score(metric, one.reference)}, mean drop {drop}"


def _slices(one: Exemplar) -> str:
    shown = "; ".join(visible(name) for name in one.slices[:SHOWN_SLICES])
    rest = len(one.slices) - SHOWN_SLICES
    return f"{shown}; and {rest} more slices" if rest > 0 else shown
