"""What arms answered: looked at as it comes, and kept once for each different answer."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.ab.replay import NOT_FINITE, OK, OTHER_SHAPE, Answer
from calaudit.formats.given import Batch, join
from calaudit.formats.predictions import Predictions, write_predictions
from calaudit.graph.model import ModelTensor
from calaudit.runtime.pool import Rows
from calaudit.runtime.words import shape_text
from calaudit.tasks.reduction import Kept

MOST_ANSWERS: Final = 50
"""Different answers to a sample that an arm's are kept of: each is scored with all samples anew."""
_DIGEST: Final = 16
"""Bytes of a hash of an answer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What answers have to be, and what is kept of them."""

    outputs: Sequence[ModelTensor]
    """The model's, as far as tasks read them; None where a size is free."""
    kept: Kept
    reference: Predictions
    """FP32's, of all rows that are judged."""


@dataclass(eq=False, slots=True)
class ArmAnswers:
    """One arm's answers: memory grows with different answers, not with requests."""

    number: NDArray[np.int32]
    """(n,) which of the different answers to its row a request got, from 0; -1: none."""
    digests: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    """Row → hashes of the different answers to it."""
    batches: list[dict[int, Batch]] = field(default_factory=list)
    """For the first, second, … different answer: row → it."""
    beyond: int = 0
    """Requests whose answer was none of the `MOST_ANSWERS` that are kept of their row."""

    @property
    def unsteady(self) -> Rows:
        """Rows that were answered in more than one way."""
        more = [row for row, found in self.digests.items() if len(found) > 1]
        return np.array(sorted(more), np.int64)

    def written(self, number: int, filling: Predictions, path: Path) -> Predictions:
        """The first, second, … different answers as predictions.

        Parameters
        ----------
        number : int
            From 0.
        filling : Predictions
            Stands in where there is no such answer, such as to a gallery that nobody asks for.
        path : Path
        """
        found = self.batches[number] if number < len(self.batches) else {}
        if not found:
            return filling
        rows, own = filling.rows, np.array(sorted(found), np.int64)
        batch = join([_alike(filling, found[int(own[0])]), *(found[row] for row in own.tolist())])
        order = np.arange(len(rows))
        order[np.searchsorted(rows, own)] = len(rows) + np.arange(len(own))
        return write_predictions(path, rows, [batch.take(order)])


def _alike(filling: Predictions, one: Batch) -> Batch:
    """What `filling` has of all that a batch holds."""
    return Batch(
        {name: filling.read(name) for name in one.outputs},
        {
            name: {column: filling.read_column(name, column) for column in columns}
            for name, columns in one.answers.items()
        },
        one.compression,
    )


class AnswerKeeper:
    """Looks at answers as they come, and keeps each different one.

    Parameters
    ----------
    wanted : Wanted
    rows : int64 (n,)
        The pool's row behind each request.
    judged : bool (n,)
        Requests whose answers are scored.
    arms : int
    """

    def __init__(
        self, wanted: Wanted, rows: Rows, judged: NDArray[np.bool_], *, arms: int = 2
    ) -> None:
        self._wanted, self._rows, self._judged = wanted, rows, judged
        self.arms = tuple(ArmAnswers(np.full(len(rows), -1, np.int32)) for _ in range(arms))

    def keep(self, arm: int, request: int, outputs: Mapping[str, NDArray[Any]]) -> Answer:
        """See `calaudit.ab.replay.Keeper`."""
        fitted: dict[str, NDArray[Any]] = {}
        for wanted in self._wanted.outputs:
            wrong = _misfit(outputs.get(wanted.name), wanted)
            if wrong:
                return OTHER_SHAPE, f"output {wanted.name} {wrong}"
            values = np.asarray(outputs[wanted.name])
            fitted[wanted.name] = np.ascontiguousarray(values, wanted.dtype)
        row, judged = int(self._rows[request]), bool(self._judged[request])
        if judged:
            self._remember(arm, request, row, fitted)
        broken = [
            name for name, values in fitted.items() if self._breaks(name, values, row, judged)
        ]
        if broken:
            return NOT_FINITE, f"output {broken[0]} holds NaN or infinity"
        return OK, ""

    def _remember(
        self, arm: int, request: int, row: int, outputs: Mapping[str, NDArray[Any]]
    ) -> None:
        answers = self.arms[arm]
        found = hashlib.blake2b(digest_size=_DIGEST)
        for values in outputs.values():
            found.update(values.tobytes())
        digest, known = found.digest(), answers.digests[row]
        if digest not in known and len(known) >= MOST_ANSWERS:
            # each in turn stands for it: all of them tell of an arm that never answers alike
            answers.number[request] = answers.beyond % MOST_ANSWERS
            answers.beyond += 1
            return
        if digest not in known:
            known.append(digest)
            if len(answers.batches) < len(known):
                answers.batches.append({})
            kept, reference = self._wanted.kept, self._wanted.reference
            batch = kept.batch(outputs, np.array([row], np.int64), reference)
            answers.batches[len(known) - 1][row] = batch
        answers.number[request] = known.index(digest)

    def _breaks(self, name: str, values: NDArray[Any], row: int, judged: bool) -> bool:
        """Whether an output isn't finite where FP32's is, or where nobody knows FP32's."""
        if values.dtype.kind != "f":
            return False
        odd = ~np.isfinite(values)
        if not odd.any():
            return False
        reference = self._wanted.reference
        if not judged or name not in reference.output_names:
            # a mask of −∞ is meant
            return bool((np.isnan(values) | (values == np.inf)).any())
        own = reference.read(name, np.array([row], np.int64))
        return bool((odd & ~(values == own)).any())


def _misfit(values: NDArray[Any] | None, wanted: ModelTensor) -> str:
    """What is wrong with an output's shape or element type; empty where nothing is."""
    if values is None:
        return "is missing"
    found = np.asarray(values)
    fits = found.ndim == len(wanted.shape) + 1 and len(found) == 1
    sizes = zip(found.shape[1:], wanted.shape, strict=False)
    if not fits or any(own is not None and size != own for size, own in sizes):
        expected = (1, *wanted.shape)
        return f"has shape {shape_text(found.shape)}, expected {shape_text(expected)}"
    if found.dtype.kind != wanted.dtype.kind:
        return f"is of {found.dtype}, expected {wanted.dtype}"
    return ""
