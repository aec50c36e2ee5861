"""From what a sequence model gives, token numbers or logits, to text."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.metrics.case import unanswered
from calaudit.runtime.errors import PoolError, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How token numbers become text."""

    vocabulary: Sequence[str]
    """Text of token 0, 1, …"""
    blank: int | None = None
    """CTC's blank; never written."""
    end: str | None = None
    """Token that ends the text; it and all after it aren't written."""
    silent: frozenset[str] = frozenset()
    """Tokens that aren't written, such as ``<pad>``."""
    space: str | None = None
    """Text within tokens that stands for a space, such as ``|`` or ``▁``."""

    def write(self, numbers: Sequence[int]) -> str:
        """The text of a sequence of token numbers; numbers outside the vocabulary are refused."""
        written = []
        for number in numbers:
            if not 0 <= number < len(self.vocabulary):
                raise SettingsError(
                    f"the model gave token {number}, the vocabulary has {len(self.vocabulary)}",
                    next_step="Give the vocabulary that the model was trained with.",
                )
            token = self.vocabulary[number]
            if token == self.end:
                break
            if number != self.blank and token not in self.silent:
                written.append(token)
        text = "".join(written)
        return text if self.space is None else text.replace(self.space, " ")


def decode(
    outputs: NDArray[Any], spelling: Spelling, reference: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Texts of a batch.

    Parameters
    ----------
    outputs : ndarray, shape (n, steps) of integers, or (n, steps, tokens) of floats
        Token numbers, in which negative ones are padding; or logits of each step for CTC, decoded
        greedily.
    spelling : Spelling
        Its `blank` is needed for logits.
    reference : ndarray, optional
        FP32's logits, which tell what infinities are meant. Without it, none is.

    Returns
    -------
    ndarray of object, shape (n,)
        Text, or None where logits are NaN, or infinite where FP32's aren't.

    Raises
    ------
    PoolError
        Outputs of another shape or element type.
    SettingsError
        A vocabulary of another size than the logits, or no blank.
    """
    texts = np.empty(len(outputs), dtype=object)
    if outputs.dtype.kind in "iu" and outputs.ndim == 2:
        texts[:] = [spelling.write([int(n) for n in row if n >= 0]) for row in outputs]
        return texts
    if outputs.dtype.kind != "f" or outputs.ndim != 3:
        raise PoolError(
            f"the output is {outputs.dtype} of shape {outputs.shape}, expected token numbers "
            "(n, steps) or logits (n, steps, tokens)",
            next_step="Choose another output of the model for this task.",
        )
    if spelling.blank is None or outputs.shape[2] != len(spelling.vocabulary):
        raise SettingsError(
            f"the model scores {outputs.shape[2]} tokens, the vocabulary has "
            f"{len(spelling.vocabulary)}, and the blank is {spelling.blank}",
            next_step="Give the vocabulary that the model was trained with, blank included.",
        )
    # Without a reference, held against what is finite everywhere.
    none = np.zeros((), outputs.dtype) if reference is None else reference
    for row in np.flatnonzero(~unanswered(outputs, none)):
        texts[row] = spelling.write(ctc_greedy(outputs[row], spelling.blank))
    return texts


def ctc_greedy(logits: NDArray[Any], blank: int) -> list[int]:
    """The best token of each step, repeats merged, blanks left out (Graves et al. 2006).

    Parameters
    ----------
    logits : ndarray, shape (steps, tokens)
        Without NaN. Of equal logits the lowest token wins.
    blank : int
    """
    best = logits.argmax(axis=1) if len(logits) else np.zeros(0, dtype=np.int64)
    changes = np.ones(len(best), dtype=bool)
    changes[1:] = best[1:] != best[:-1]
    return [int(token) for token in best[changes] if token != blank]


def plain_text(text: str, *, ignore_case: bool, ignore_punctuation: bool) -> str:
    """Text as it is compared: without case or punctuation where these don't matter.

    Punctuation is what Unicode calls so, but for apostrophes within words.
    """
    if ignore_case:
        text = text.casefold()
    if not ignore_punctuation:
        return text
    kept = [
        c if not unicodedata.category(c).startswith("P") or _within(text, i) else " "
        for i, c in enumerate(text)
    ]
    return "".join(kept)


def _within(text: str, at: int) -> bool:
    """Whether an apostrophe stands between two letters."""
    return text[at] in "'’" and text[at - 1 : at].isalnum() and text[at + 1 : at + 2].isalnum()
