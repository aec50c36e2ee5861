"""A metric that calaudit doesn't have."""

import numpy as np

from calaudit import metric


@metric("mean", higher_is_better=False, span=2.0)
def brier(outputs, target):
    """Squared distance of the probabilities from the label's one-hot vector, mean over samples."""
    return ((outputs - np.eye(outputs.shape[1])[target]) ** 2).sum(axis=1)
