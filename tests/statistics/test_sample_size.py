"""The points that new samples are simulated from; what comes of them stands with the verdicts."""

import numpy as np
from scipy import stats

from calaudit.statistics import sample_size


def test_the_kept_points_fill_their_space_evenly() -> None:
    points = np.load(sample_size._SOBOL)
    assert points.shape == (256, 4)
    assert (np.sort(np.floor(points * 256), axis=0) == np.arange(256)[:, None]).all()
    random = stats.qmc.discrepancy(np.random.default_rng(0).random((256, 4)))
    assert stats.qmc.discrepancy(points) < random / 5
