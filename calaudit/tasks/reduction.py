"""What of an engine's outputs goes to disk: all, or what tasks make of them while it runs.

A task whose outputs are large reduces each batch to what its metrics read: detections, counts,
scores. Predictions keep that (answers), and the outputs of those tasks that reduce nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Batch, Column, Given
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.pool import Rows


class Reduction(ABC):
    """Makes answers of outputs, batch by batch; any batches of the same rows give the same."""

    __slots__ = ()

    against_reference: bool = False
    """Whether engines' answers depend on FP32's outputs. These are then kept, and not reduced, and
    so are those of experiments on tuning rows: the task must be able to read either."""
    compression: Mapping[str, str] = MappingProxyType({})
    """Column → filter of HDF5 (``"lzf"``, ``"gzip"``), where it is worth it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of its answers in predictions.

        Those of two tasks may share it if their keys are equal: they are made once.
        """

    @property
    @abstractmethod
    def key(self) -> Mapping[str, object]:
        """All settings that the answers depend on, JSON-like: another key is another file."""

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """About how many bytes a sample's answers take on disk, at most."""

    @abstractmethod
    def __call__(
        self, outputs: Mapping[str, NDArray[Any]], rows: Rows, reference: Given | None
    ) -> Mapping[str, Column]:
        """Answers to a batch.

        Parameters
        ----------
        outputs : mapping
            Output of the model → (b, …).
        rows : int64 (b,)
            Pool rows, ascending; others than the evaluated ones may be among them.
        reference : Given or None
            FP32's, where `against_reference`; else None.

        Returns
        -------
        mapping
            Column → (b, …), or ragged; the same columns, types and shapes for every batch.

        Raises
        ------
        CalauditError
            The outputs don't fit the task.
        """


class Scoring(Reduction):
    """Keeps what an engine's outputs are scored, unit by unit, and which of them are highest."""

    __slots__ = ()

    @abstractmethod
    def best(self, given: Given, units: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """The highest output of some units (u,), and which of them have no answer (u,)."""

    @abstractmethod
    def highest(self, given: Given, units: Rows) -> NDArray[np.int32]:
        """The `Task.top` highest outputs of some units, (u, k)."""

    @abstractmethod
    def largest_difference(self, given: Given) -> float | None:
        """Largest |engine − FP32|; None where nothing is finite."""

    @abstractmethod
    def squared_differences(self, given: Given) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of each unit Σ (engine − FP32)² and Σ FP32², both (n,)."""

    def scores_of(self, given: Given) -> bool:
        """Whether there are scores in place of outputs, or beside them."""
        return self.name in given.answers


@dataclass(frozen=True, slots=True)
class Kept:
    """What predictions keep."""

    outputs: tuple[str, ...] | None = None
    """Those of the outputs; None: all."""
    reductions: tuple[Reduction, ...] = ()

    @property
    def key(self) -> dict[str, object]:
        """What predictions depend on besides engine and rows; empty where outputs are kept."""
        if self.outputs is None and not self.reductions:
            return {}
        return {
            "outputs": None if self.outputs is None else sorted(self.outputs),
            "answers": {each.name: dict(each.key) for each in self.reductions},
        }

    @property
    def against_reference(self) -> bool:
        """Whether engines can't be run before FP32 was."""
        return any(each.against_reference for each in self.reductions)

    def batch(
        self,
        outputs: Mapping[str, NDArray[Any]],
        rows: Rows,
        reference: Given | None,
        given: Mapping[str, Mapping[str, Column]] = MappingProxyType({}),
    ) -> Batch:
        """What is kept of one batch's outputs.

        Parameters
        ----------
        outputs : mapping
            Output → (b, …).
        rows : int64 (b,)
        reference : Given or None
            FP32's, where a reduction holds engines against it.
        given : mapping, optional
            Reduction → its columns, of answers that were given in place of outputs.
        """
        return Batch(
            outputs={
                name: values
                for name, values in outputs.items()
                if self.outputs is None or name in self.outputs
            },
            answers={
                each.name: given[each.name]
                if each.name in given
                else each(outputs, rows, reference if each.against_reference else None)
                for each in self.reductions
            },
            compression={each.name: each.compression for each in self.reductions},
        )


EVERYTHING: Final = Kept()
"""All outputs, as they are."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one task needs of the outputs."""

    outputs: tuple[str, ...]
    reduction: Reduction | None

    def reduces(self, reference: bool) -> bool:
        """Whether an engine's outputs, or FP32's, are reduced."""
        one = self.reduction
        return one is not None and not (reference and one.against_reference)


def kept_of(readings: Iterable[Reading], *, every: bool = False, reference: bool = False) -> Kept:
    """What predictions keep for some tasks.

    Parameters
    ----------
    readings : iterable of Reading
        The tasks'.
    every : bool
        Keep all outputs beside the answers.
    reference : bool
        Of FP32, which engines may be held against.

    Raises
    ------
    SettingsError
        Two tasks reduce outputs by different settings, under one name.
    """
    readings = list(readings)
    if every or all(each.reduction is None for each in readings):
        outputs = None
    else:
        outputs = tuple(
            dict.fromkeys(
                name for each in readings if not each.reduces(reference) for name in each.outputs
            )
        )
    reductions: dict[str, Reduction] = {}
    for each in readings:
        one = each.reduction
        if one is None or not each.reduces(reference):
            continue
        if reductions.setdefault(one.name, one).key != one.key:
            raise SettingsError(
                f"two tasks keep {one.name} with different settings: "
                f"{', '.join(_differing(reductions[one.name].key, one.key))}",
                next_step='Give one of the tasks a name: name = "…"; or both the same settings.',
            )
    return Kept(outputs, tuple(reductions.values()))


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]
