"""What a kind of task shows of a sample: what is true, what FP32 says, what the engine says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calaudit.formats.given import Given
from calaudit.results.pictures import Mark
from calaudit.runtime.pool import Rows

if TYPE_CHECKING:
    from calaudit.tasks.base import EvalSet


@dataclass(frozen=True, eq=False, slots=True)
class Shown:
    """One of the three."""

    label: str | None = None
    """Its class, of a classification."""
    boxes: tuple[Mark, ...] = ()
    mask: NDArray[np.uint8] | None = None
    """(H, W) class numbers, `IGNORED` where nothing is judged."""


@dataclass(frozen=True, eq=False, slots=True)
class Sides:
    """One sample's truth beside what two engines say of it."""

    truth: Shown
    fp32: Shown
    engine: Shown


@dataclass(frozen=True, eq=False, slots=True)
class Losses:
    """What units lost, where a metric of whole sets scores none."""

    by: str
    """What a unit's own score is, as it stands in a sentence."""
    reference: NDArray[np.float64]
    """(k,) a unit's own score under FP32, NaN where it has none."""
    lost: NDArray[np.float64]
    """(k,) what it lost of it."""


class Depicts:
    """What a kind of task shows of single units; by default nothing."""

    __slots__ = ()

    def losses(self, eval_set: "EvalSet", units: Rows, fp32: Given, engine: Given) -> Losses | None:
        """What some units lost, for pictures by metrics of whole sets, which score no unit.

        Parameters
        ----------
        eval_set : EvalSet
        units : int64 (k,)
            Positions, ascending.
        fp32, engine : Given
            What the two gave.
        """
        return None

    def depict(
        self, eval_set: "EvalSet", units: Rows, fp32: Given, engine: Given
    ) -> list[Sides] | None:
        """Truth, FP32 and an engine of some units, as pictures show them; None: in no way.

        Parameters
        ----------
        eval_set : EvalSet
        units : int64 (k,)
            Positions, ascending.
        fp32, engine : Given
            What the two gave.
        """
        return None


IGNORED = 255
"""In a mask, where nothing is judged."""


def class_name(classes: tuple[str, ...], number: int) -> str:
    """The name of a class; its number where it has none."""
    return classes[number] if 0 <= number < len(classes) else str(number)
