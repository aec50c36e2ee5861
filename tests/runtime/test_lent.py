from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from calaudit.metrics.case import Case
from calaudit.metrics.truth import Labels, Relevance
from calaudit.runtime.lent import lent
from calaudit.sampling.recipe import Candidates


def test_arrays_can_be_read_but_not_written_to_wherever_they_are() -> None:
    array = np.arange(4.0)
    outputs = np.eye(4)
    case = Case(outputs, Labels(np.arange(4)), outputs)
    matrix = sparse.csr_array(np.eye(3))
    for given in (
        lent(array),
        lent({"x": [array]})["x"][0],
        lent((1, array))[1],
        lent(case).outputs,
        lent(case).reference(),
        lent(case).truth.target,
        lent(case).label(),
        lent(matrix).data,
        lent(Candidates(np.arange(3))).rows,
    ):
        with pytest.raises(ValueError, match="read-only"):
            given[0] = 7
    array[0] = 7.0
    matrix.data[0] = 7.0
    case.outputs[0] = 5.0  # the owner still can
    assert lent(matrix).toarray()[0, 0] == 7.0


def test_what_a_case_keeps_is_lent_too_and_stays_shared() -> None:
    truth = Relevance(np.array([[1, 0, 0]]), exclude=np.array([[False, False, True]]))
    case = Case(np.array([[3.0, 2.0, 1.0]]), truth, None)
    shown = lent(case).shown(2)
    assert case.shown(2) is shown
    for array in (shown.item, lent(case).exclude(), lent(case).unanswered):
        assert array is not None
    with pytest.raises(ValueError, match="read-only"):
        shown.item[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        lent(case).exclude()[0] = True  # type: ignore[index]


def test_what_holds_no_array_stays_the_same_object() -> None:
    @dataclass
    class Theirs:
        array: np.ndarray

    theirs, plain = Theirs(np.ones(2)), {"a": [1, "b", None]}
    assert lent(theirs) is theirs
    assert lent(plain) is plain
    locked = lent(np.ones(2))
    assert lent(locked) is locked
