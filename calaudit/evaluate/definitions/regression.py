"""Metrics of one value, or several, per sample."""

from collections.abc import Mapping

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.metrics import regression

_OUTPUTS = "over a sample's values the mean"

REGRESSION: Mapping[str, Definition] = {
    "mae": Definition(
        title="Mean absolute error",
        kind="mean",
        needs="values",
        direction="lower_is_better",
        unit="target",
        span=None,
        compute=regression.mae,
        convention=f"mean of |output − target|; {_OUTPUTS}",
    ),
    "mse": Definition(
        title="Mean squared error",
        kind="mean",
        needs="values",
        direction="lower_is_better",
        unit="target²",
        span=None,
        compute=regression.mse,
        convention=f"mean of (output − target)²; {_OUTPUTS}",
    ),
    "rmse": Definition(
        title="Root mean squared error",
        kind="set",
        needs="values",
        direction="lower_is_better",
        unit="target",
        span=None,
        compute=regression.rmse,
        functional=regression.rmse_of,
        influence=regression.unbounded,
        convention=f"root of the mean of (output − target)²; {_OUTPUTS}",
    ),
    "r2": Definition(
        title="R²",
        kind="set",
        needs="values",
        unit="index",
        span=None,
        compute=regression.r2,
        functional=regression.r2_of,
        influence=regression.unbounded,
        convention="1 − squared errors over squared distances from the slice's mean; "
        f"{_OUTPUTS} of their R²",
    ),
}
