"""Samples to look at: pictures of model inputs, and what is told beside them."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calaudit.formats.pictures import as_image, as_pixels
from calaudit.report.html.embedded import data_address, embedded
from calaudit.report.index import Index
from calaudit.report.wording import difference, in_sentence, score, unit_name
from calaudit.results.drops import Exemplar, Exemplars
from calaudit.results.report import Report
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted, plural, visible

LARGEST_IMAGE = 160
"""Pixels of a side: larger arrays are thinned out."""
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


def drawn_samples(report: Report, *, folder: Path | None, pool: Pool | None) -> dict[str, Picture]:
    """Pictures of the report's exemplars by id: their files, else from the pool."""
    shown = [one for group in report.exemplars for one in group.shown]
    found = {}
    for one in shown:
        image = embedded(folder, one.picture)
        if image is not None:
            found[one.id] = Picture(image=image)
    rest = {one.id for one in shown} - set(found)
    return found if pool is None else draw_samples(pool, rest) | found


def draw_sample(values: NDArray[Any]) -> Picture | None:
    """An image for a grid of values, a waveform for a long vector, None for anything else.

    Parameters
    ----------
    values : array
        One sample: (H, W), (channels, H, W) or (H, W, channels) with 1 or 3 channels, or (n,);
        axes of length 1 count for nothing. Values of 0 to 1 are shades from black to white; any
        other range is stretched.
    """
    if values.dtype.kind not in "fiu":
        return None
    images = as_image(values[None])
    if images is not None:
        return Picture(image=_png(images))
    values = np.squeeze(values.astype(np.float64))
    if values.ndim == 1 and len(values) >= SHORTEST_WAVE:
        return Picture(path=_wave(values))
    return None


def _png(images: NDArray[Any]) -> str:
    steps = [-(-side // LARGEST_IMAGE) for side in images.shape[1:3]]
    pixels = as_pixels(images[:, :: steps[0], :: steps[1]])[0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return data_address(file.getvalue(), "png")


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
                "answers": _answers(each),
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


def _answers(one: Exemplar) -> str:
    """What is true and what FP32 and the engines say; empty where they say no class."""
    if one.truth is None or one.fp32 is None:
        return ""
    said = ", ".join(
        f"{visible(each.label)} ({each.engines:,})" if len(one.answers) > 1 else visible(each.label)
        for each in one.answers
    )
    return f"true {visible(one.truth)}, FP32 {visible(one.fp32)}, engines {said}"


def _slices(one: Exemplar) -> str:
    shown = "; ".join(visible(name) for name in one.slices[:SHOWN_SLICES])
    rest = len(one.slices) - SHOWN_SLICES
    return f"{shown}; and {rest} more slices" if rest > 0 else shown
