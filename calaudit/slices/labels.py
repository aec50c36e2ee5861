"""Labels that a person can read: numbers, bins and categories, each on one line."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def number_text(value: float) -> str:
    """The shortest text that reads back as the same number: ``5``, ``-0.25``, ``1e-07``, ``∞``."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(float(value))


def value_text(value: Any) -> str:
    """A category's text: booleans in lower case, control characters escaped."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def category_label(title: str, text: str) -> str:
    """``speaker = theo``."""
    return f"{title} = {text}"


def missing_label(title: str) -> str:
    """``snr_db missing``."""
    return f"{title} missing"


def bin_labels(title: str, edges: Sequence[float]) -> list[str]:
    """Labels of the bins between ascending `edges`, open at both ends.

    Examples
    --------
    >>> bin_labels("snr_db", [0, 5])
    ['snr_db < 0', '0 ≤ snr_db < 5', 'snr_db ≥ 5']
    >>> bin_labels("snr_db", [0, float("inf")])
    ['snr_db < 0', '0 ≤ snr_db < ∞', 'snr_db = ∞']
    """
    texts = [number_text(edge) for edge in edges]
    inner = [f"{a} ≤ {title} < {b}" for a, b in pairwise(texts)]
    last = f"{title} = ∞" if edges[-1] == math.inf else f"{title} ≥ {texts[-1]}"
    return [f"{title} < {texts[0]}", *inner, last]
