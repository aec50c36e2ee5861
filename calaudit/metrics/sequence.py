"""Sequences: word and character errors of the written text against the pool's.

The edit distance (substitutions, deletions and insertions) is jiwer's. Sums over units make the
rate: errors of all samples over the words of all true texts, so that long texts weigh more.

Metrics of one text per sample.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import Definition
from calaudit.metrics.case import Case


def wer(case: Case) -> NDArray[np.float64]:
    """Word errors, and words of the true text, (n, 2). Words are what white space separates."""
    import jiwer

    return _errors(case, jiwer.process_words)


def cer(case: Case) -> NDArray[np.float64]:
    """Character errors, and characters of the true text, spaces included, (n, 2).

    Runs of white space count as one space, those at the ends not at all.
    """
    import jiwer

    return _errors(case, jiwer.process_characters)


def exact_match(case: Case) -> NDArray[np.bool_]:
    """Whether the text is the true one, but for white space, (n,)."""
    true, given = case.texts()
    right = [
        one is not None and _tidy(one) == _tidy(other)
        for one, other in zip(given, true, strict=True)
    ]
    return np.array(right, dtype=bool)


def _errors(case: Case, align: Callable[[str, str], Any]) -> NDArray[np.float64]:
    """Errors and length of each true text; errors are NaN where the engine gave no text."""
    true, given = case.texts()
    counts = np.empty((len(true), 2))
    for row, (wanted, got) in enumerate(zip(true, given, strict=True)):
        found = align(_tidy(wanted), _tidy(got or ""))
        errors = found.substitutions + found.deletions + found.insertions
        length = found.hits + found.substitutions + found.deletions
        counts[row] = np.nan if got is None else errors, length
    return counts


def _tidy(text: object) -> str:
    """White space as single spaces between words."""
    return " ".join(str(text).split())


SEQUENCE: Mapping[str, Definition] = {
    "wer": Definition(
        title="Word error rate",
        kind="ratio",
        needs="texts",
        direction="lower_is_better",
        span=None,
        compute=wer,
        convention="substituted, deleted and inserted words over the words of the true texts",
    ),
    "cer": Definition(
        title="Character error rate",
        kind="ratio",
        needs="texts",
        direction="lower_is_better",
        span=None,
        compute=cer,
        convention="substituted, deleted and inserted characters over those of the true texts, "
        "single spaces included",
    ),
    "exact_match": Definition(
        title="Exact match",
        kind="binary",
        needs="texts",
        compute=exact_match,
        convention="share of samples whose text is the true one, but for white space",
    ),
}
