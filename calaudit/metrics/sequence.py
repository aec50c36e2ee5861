"""Word and character errors of the written text against the pool's.

The edit distance (substitutions, deletions and insertions) is jiwer's. Sums over units make the
rate: errors of all samples over the words of all true texts, so that long texts weigh more.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.base import metric
from calaudit.metrics.case import Case
from calaudit.metrics.truth import Texts


@metric(
    "ratio",
    title="Word error rate",
    needs=Texts,
    higher_is_better=False,
    quality=True,
    convention="substituted, deleted and inserted words over the words of the true texts",
    synonyms="word error, word accuracy",
)
def wer(case: Case) -> NDArray[np.float64]:
    """Word errors, and words of the true text, (n, 2). Words are what white space separates."""
    import jiwer

    return _errors(case, jiwer.process_words)


@metric(
    "ratio",
    title="Character error rate",
    needs=Texts,
    higher_is_better=False,
    quality=True,
    convention="substituted, deleted and inserted characters over those of the true texts, "
    "single spaces included",
    synonyms="character error, char error rate",
)
def cer(case: Case) -> NDArray[np.float64]:
    """Character errors, and characters of the true text, spaces included, (n, 2).

    Runs of white space count as one space, those at the ends not at all.
    """
    import jiwer

    return _errors(case, jiwer.process_characters)


@metric(
    "binary",
    title="Exact match",
    needs=Texts,
    quality=True,
    convention="share of samples whose text is the true one, but for white space",
    synonyms="em, exact, string match, sentence accuracy, ser, sentence error rate",
)
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
