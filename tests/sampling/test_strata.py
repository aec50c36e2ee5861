import numpy as np
import polars as pl
import pytest

from calaudit.runtime.errors import DrawError
from calaudit.sampling.design import cross_strata
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices

FRAME = pl.DataFrame(
    {
        "snr_db": [-5.0, 0.0, 5.0, 7.0, None, 0.0],
        "speaker": ["theo", "theo", "lucas", "lucas", "theo", "lucas"],
    }
)
SNR = Dimension(by="snr_db", edges=[0, 5])
SPEAKER = Dimension(by="speaker")


def test_several_dimensions_are_crossed_and_empty_combinations_noted() -> None:
    strata = cross_strata(evaluate_slices([SNR, SPEAKER], FRAME), [SNR, SPEAKER])
    assert dict(zip(strata.labels, strata.counts(), strict=True)) == {
        "snr_db < 0 & speaker = theo": 1,
        "0 ≤ snr_db < 5 & speaker = lucas": 1,
        "0 ≤ snr_db < 5 & speaker = theo": 1,
        "snr_db ≥ 5 & speaker = lucas": 2,
        "snr_db missing & speaker = theo": 1,
    }
    assert [notice.code for notice in strata.notices] == ["empty_combinations"]
    assert "3 of 8 combinations" in strata.notices[0].message


def test_margins_say_which_slice_of_each_dimension_a_stratum_is_in() -> None:
    slices = evaluate_slices([SNR, SPEAKER], FRAME)
    strata = cross_strata(slices, [SNR, SPEAKER])
    for h, label in enumerate(strata.labels):
        parts = [
            each.labels[m[h]] for each, m in zip(slices.dimensions, strata.margins, strict=True)
        ]
        assert label == " & ".join(parts)


def test_a_declared_cross_adds_nothing() -> None:
    dimensions = [SNR, SPEAKER, Dimension(cross=["snr_db", "speaker"])]
    crossed = cross_strata(evaluate_slices(dimensions, FRAME), dimensions)
    plain = cross_strata(evaluate_slices(dimensions[:2], FRAME), dimensions[:2])
    assert crossed.labels == plain.labels
    assert (crossed.codes == plain.codes).all()


def test_a_predicate_makes_a_stratum_and_its_complement() -> None:
    loud = Dimension(name="loud", where="snr_db > 1")
    strata = cross_strata(evaluate_slices([loud], FRAME), [loud])
    assert dict(zip(strata.labels, strata.counts(), strict=True)) == {"loud": 2, "not loud": 4}


def test_samples_that_a_dimension_drops_are_not_drawn_from() -> None:
    dropping = Dimension(by="snr_db", edges=[0, 5], missing="drop")
    strata = cross_strata(evaluate_slices([dropping], FRAME), [dropping])
    assert sum(strata.counts()) == 5
    assert strata.codes[4] == -1
    assert [notice.code for notice in strata.notices] == ["candidates_dropped"]


def test_a_slice_without_candidates_is_an_error_unless_the_floor_is_0() -> None:
    some = evaluate_slices([SNR, SPEAKER], FRAME).take(np.array([1, 2, 3]))
    with pytest.raises(DrawError) as caught:
        cross_strata(some, [SNR, SPEAKER])
    messages = [problem.message for problem in caught.value.problems]
    assert messages == [
        'stratum "snr_db < 0" has no samples among the candidates',
        'stratum "snr_db missing" has no samples among the candidates',
    ]
    allowed = cross_strata(some, [SNR, SPEAKER], floor=0)
    assert sum(allowed.counts()) == 3
    codes = [notice.code for notice in allowed.notices]
    assert codes == ["stratum_empty", "stratum_empty", "empty_combinations"]
