"""``[[gates]]`` of an audit file: what may be lost, and where."""

import math

from calaudit.runtime.errors import SettingsError
from calaudit.runtime.settings import setting
from calaudit.statistics.criteria import Tolerance


@setting
class GateSettings:
    """One promise: on these slices this metric drops by no more than allowed."""

    metric: str
    max_drop: float | None = None
    """In the metric's own unit: 0.02 is two points of accuracy."""
    max_relative_drop: float | None = None
    """As a share of what FP32 reaches on the slice: 0.05 is 5 % of it. With both, the stricter
    holds."""
    min_reference: float | None = None
    """What FP32 itself must reach on each of the slices for anything to pass there: at least this,
    or at most, where lower is better."""
    slices: str = "*"
    """A slice's name or a pattern (``"snr_db*"``); one that matches nothing is an error."""

    def __post_init__(self) -> None:
        """A gate of 0 or less could never be passed, one without bound never failed."""
        for name, value in (
            ("max_drop", self.max_drop),
            ("max_relative_drop", self.max_relative_drop),
        ):
            if value is not None and not 0 < value < math.inf:
                raise SettingsError(
                    f"{name} must be a positive number (got {value})",
                    next_step="Give the largest drop you accept, such as 0.02.",
                )
        if self.min_reference is not None and not math.isfinite(self.min_reference):
            raise SettingsError(
                f"min_reference must be a number (got {self.min_reference})",
                next_step="Give what FP32 must reach, such as 0.5.",
            )
        self.tolerance  # noqa: B018  # refuses neither

    @property
    def tolerance(self) -> Tolerance:
        """What is allowed."""
        return Tolerance(self.max_drop, self.max_relative_drop)
