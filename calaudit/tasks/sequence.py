"""Sequences: one text per sample; the output holds token numbers, or logits for CTC."""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.metrics.case import Case, unanswered
from calaudit.metrics.catalogue import parse_metric
from calaudit.metrics.scoring import scores_of
from calaudit.metrics.truth import Texts, Truth
from calaudit.metrics.unit_scores import RatioScores
from calaudit.runtime.errors import PoolError, SettingsError
from calaudit.runtime.settings import setting
from calaudit.statistics.baselines import Rival
from calaudit.tasks.base import EvalSet, Samples, Task


@setting
class SequenceTask(Task):
    """One text per sample; the output holds token numbers, or logits that CTC decodes greedily."""

    kind: ClassVar[str] = "sequence"
    truth: ClassVar[type[Truth]] = Texts
    vocabulary: tuple[str, ...] | str
    """Text of each token, or the path of a file that holds them: one per line, or JSON."""
    target: str = "text"
    output: str | None = None
    blank: int | None = None
    """Number of CTC's blank token; needed where the output holds logits."""
    end: str | None = None
    """Token that ends a text."""
    silent: tuple[str, ...] = ()
    """Tokens that aren't written, such as ``<pad>``."""
    space: str | None = None
    """Text within tokens that stands for a space, such as ``|`` or ``▁``."""
    ignore_case: bool = False
    ignore_punctuation: bool = False
    """Both drop what doesn't count from the true texts and the model's alike."""
    metrics: tuple[str, ...] = ("wer", "cer", "exact_match")

    def __post_init__(self) -> None:
        """Names must be those of tokens, where the tokens are given."""
        if not self.vocabulary:
            raise SettingsError("vocabulary is empty", next_step="Name the text of each token.")
        if self.blank is not None and self.blank < 0:
            raise SettingsError(f"blank is {self.blank}", next_step="Give the token's number.")

    def read(self, samples: Samples) -> EvalSet:
        """The true texts, and how outputs are decoded."""
        spelling = spelling_of(self, samples.folder, where=samples.where)
        target = samples.target(self.target)
        if target.dtype.kind not in "UT":
            raise PoolError(
                f"the target {self.target!r} is {target.dtype}, expected text",
                where=f"{samples.pool.label}: /targets/{self.target}",
                next_step="Store the texts, or judge this output by another kind of self.",
            )

        def plain(text: str) -> str:
            return plain_text(
                text, ignore_case=self.ignore_case, ignore_punctuation=self.ignore_punctuation
            )

        def answer(given: Given, reference: Given, units: NDArray[np.int64]) -> NDArray[Any]:
            texts = decode(samples.read(given, units), spelling, samples.read(reference, units))
            texts[:] = [None if text is None else plain(text) for text in texts]
            return texts

        truth = Texts(np.array([plain(str(text)) for text in target], dtype=np.str_))
        return samples.eval_set(self, truth, target=self.target, answer=answer)

    def rivals(self, case: Case, k: int) -> list[Rival]:
        """Silence has a word error rate, and a character error rate, of 1."""
        gains = []
        for name in ("wer", "cer"):
            found = scores_of(parse_metric(name), case)
            if isinstance(found, RatioScores):
                gains.append(found.denominator - found.numerator)
        return [Rival("an empty text", tuple(gains), True)]


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


def spelling_of(task: SequenceTask, folder: Path, *, where: str) -> Spelling:
    """How the task's token numbers become text.

    Parameters
    ----------
    task : SequenceTask
    folder : Path
        What a vocabulary's path is relative to.
    where : str
        Place of the task, for messages.

    Raises
    ------
    SettingsError
        A vocabulary that can't be read, or a blank, end or silent token that isn't in it.
    """
    given = task.vocabulary
    tokens = given if isinstance(given, tuple) else _read(folder / given, where)
    if task.blank is not None and task.blank >= len(tokens):
        raise SettingsError(
            f"blank is token {task.blank}, the vocabulary has {len(tokens)}", where=f"{where}.blank"
        )
    known = set(tokens)
    for key, named in (("end", (task.end,)), ("silent", task.silent)):
        for token in named:
            if token is not None and token not in known:
                raise SettingsError(
                    f"the vocabulary has no token {token!r}",
                    where=f"{where}.{key}",
                    next_step="Write it as the vocabulary does.",
                )
    return Spelling(
        vocabulary=tokens,
        blank=task.blank,
        end=task.end,
        silent=frozenset(task.silent),
        space=task.space,
    )


def _read(path: Path, where: str) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the vocabulary {path} can't be read: {error}",
            where=f"{where}.vocabulary",
            next_step="Give a file with one token per line, or a JSON list or mapping.",
        ) from None
    return _listed(content, path, where)


def _listed(content: Any, path: Path, where: str) -> tuple[str, ...]:
    """Tokens in the order of their numbers."""
    if isinstance(content, dict) and sorted(content.values()) == list(range(len(content))):
        return tuple(sorted(content, key=content.__getitem__))
    if isinstance(content, list) and content and all(isinstance(one, str) for one in content):
        return tuple(content)
    raise SettingsError(
        f"{path} doesn't give one token for each number from 0",
        where=f"{where}.vocabulary",
        next_step="Give a list of tokens, or a mapping of tokens to the numbers 0, 1, …",
    )
