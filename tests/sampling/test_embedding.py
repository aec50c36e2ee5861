import numpy as np
import pytest
from sklearn.decomposition import PCA

from calaudit.runtime.errors import DrawError
from calaudit.sampling.features import principal_components, standardise

GENERATOR = np.random.default_rng(0)
SAMPLES = (
    GENERATOR.normal(size=(600, 3)) * [9, 4, 2] @ np.linalg.qr(GENERATOR.normal(size=(20, 3)))[0].T
    + GENERATOR.normal(size=(600, 20)) * 0.05
)


def test_components_agree_with_an_exact_decomposition() -> None:
    rows = np.arange(600)
    found = principal_components(lambda piece: SAMPLES[piece], rows, 3)
    exact = PCA(3, svd_solver="full").fit_transform(SAMPLES)
    assert found.shape == (600, 3)
    for mine, theirs in zip(found.T, exact.T, strict=True):
        assert abs(np.corrcoef(mine, theirs)[0, 1]) > 0.999
        assert mine.std() == pytest.approx(theirs.std(), rel=0.01)


def test_only_the_rows_asked_for_are_read() -> None:
    read: list[int] = []

    def recorded(piece):
        read.extend(piece.tolist())
        return SAMPLES[piece]

    principal_components(recorded, np.arange(0, 600, 3), 2)
    assert set(read) == set(range(0, 600, 3))


@pytest.mark.parametrize(("n", "asked", "most"), [(600, 21, 20), (5, 6, 5), (0, 1, 0)])
def test_more_components_than_there_can_be_are_refused(n, asked, most) -> None:
    with pytest.raises(DrawError, match=f"have at most {most}"):
        principal_components(lambda piece: SAMPLES[piece], np.arange(n), asked)


@pytest.mark.parametrize("asked", [20, 100])
def test_components_as_many_as_a_batch_are_possible(asked) -> None:
    samples = GENERATOR.normal(size=(150, 120))
    found = principal_components(lambda piece: samples[piece], np.arange(150), asked)
    assert found.shape == (150, asked)


def test_columns_are_put_in_units_of_their_deviation() -> None:
    found = standardise(np.array([[1.0, 7.0], [3.0, 7.0]]))
    assert found.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
