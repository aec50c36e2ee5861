"""What explanations say: each cause in its own words, with the numbers that were measured."""

from dataclasses import replace

import pytest

from calaudit.explain.sentences import Told, sentence
from calaudit.report.index import Index
from calaudit.results.drops import Part
from calaudit.results.explanation import Cause, Explanation, OpTrial
from tests.report.factory import EXPLANATION, cell, report


def told(one: Explanation, reason: str = "") -> str:
    return sentence(Told(Index(report()), one, 5, reason))


def test_one_range_that_clips() -> None:
    assert told(EXPLANATION) == (
        "On noise ≥ 0.4, the range of image that clean with minmax has (0.62) clips 38 % of its "
        "values; with that of equal with minmax (1) 0.3 of 5.8 points of top-1 accuracy are left "
        "(95 % CI −1.0 to 1.8, on 400 tuning samples). With its ranges at all 4 other taps "
        "instead, 5.7 are."
    )


def test_one_range_that_is_too_wide() -> None:
    wide = replace(EXPLANATION.suspects[0], clipping=0.01, clipped=0.0, steps=3)
    text = told(replace(EXPLANATION, suspects=(wide,)))
    assert "(0.62) leaves 3 of 127 steps to 90 % of its values;" in text


def test_several_ranges_are_named_up_to_three() -> None:
    many = tuple(replace(EXPLANATION.suspects[0], tap=f"t{i}") for i in range(5))
    text = told(replace(EXPLANATION, suspects=many, taps=tuple(each.tap for each in many)))
    assert "clean with minmax has 5 ranges that do harm: that of t0 (0.62) clips" in text
    assert "that of t2 (0.62) clips 38 % of its values and 2 more; with those of equal" in text
    assert "t3" not in text


def test_ranges_in_part_say_that_something_is_left() -> None:
    part = replace(EXPLANATION, cause=Cause.RANGES_IN_PART, left=Part(0.03, 0.01, 0.05))
    assert "3.0 of 5.8 points" in told(part)
    text = told(part)
    assert ", a part of the drop. All ranges of equal with minmax leave 0.2. With the Conv" in text
    assert "no other" not in text


def test_the_minimax_table_as_donor_and_everything_as_place() -> None:
    text = told(replace(EXPLANATION, donor="minimax", slice="all"))
    assert text.startswith("Overall, the range of image")
    assert "with that of the minimax table (1)" in text


@pytest.mark.parametrize("cause", [Cause.OPS, Cause.OPS_IN_PART])
def test_an_op(cause: Cause) -> None:
    text = told(replace(EXPLANATION, cause=cause, taps=(), ops=("conv1",)))
    part = ", in part," if cause is Cause.OPS_IN_PART else ""
    assert text.startswith(
        f"On noise ≥ 0.4, clean with minmax loses{part} by the Conv conv1 in INT8: with it in "
        "float, 0.4 "
        "of 5.8 points of top-1 accuracy are left (95 % CI −1.0 to 2.0, on 400 tuning samples); "
        "alone in INT8 it costs 5.0 (95 % CI 2.0–8.0)"
    )
    assert " All ranges of equal with minmax leave 0.2. calaudit recommend looks" in text


def test_many_ranges_and_the_op_beside_them() -> None:
    text = told(replace(EXPLANATION, cause=Cause.WHOLE, taps=("a", "b", "c"), ops=("conv1",)))
    assert "ranges take back the drop of clean with minmax only where many are exchanged" in text
    assert "at 3 of 5 taps" in text
    assert "With the Conv conv1 in float instead, 0.4 are left (95 % CI −1.0 to 2.0)" in text
    assert "alone in INT8 it costs 5.0" in text


def test_nothing_found_names_the_best_that_was_tried() -> None:
    worse = OpTrial("conv0", "Conv", Part(0.05, 0.02, 0.08), None)
    trials = (worse, *EXPLANATION.trials)
    text = told(replace(EXPLANATION, cause=Cause.NOTHING_FOUND, taps=(), trials=trials))
    assert "nothing that was tried is shown to take back most of what clean with minmax" in text
    assert "all ranges of equal with minmax leave 0.2 (95 % CI −1.0 to 1.7)" in text
    assert "conv1 in float, the best of the single ops that were tried, leaves 0.4" in text


def test_what_wasnt_tried_is_said_beside_nothing_found() -> None:
    nothing = replace(EXPLANATION, cause=Cause.NOTHING_FOUND, taps=(), trials=(), curve=())
    text = told(nothing)
    assert "no other ranges promise less harm" in text
    assert "no product is left in INT8 that could be tried in float" in text


def test_controls_arent_sent_to_recommend() -> None:
    nothing = replace(EXPLANATION, cause=Cause.NOTHING_FOUND, taps=())
    assert "calaudit recommend" in told(nothing)
    control = replace(cell("clean", "minmax"), role="control")
    known = Index(report(cells=(control, cell("equal", "minmax"))))
    assert "calaudit recommend" not in sentence(Told(known, nothing, 5))


def test_a_drop_that_isnt_on_the_tuning_rows() -> None:
    absent = replace(
        EXPLANATION, cause=Cause.NOT_ON_TUNING_ROWS, tuning=Part(-0.004, -0.014, 0.005)
    )
    assert told(absent) == (
        "On noise ≥ 0.4, clean with minmax loses 6.1 points of top-1 accuracy on the evaluated "
        "samples, but the tuning samples lose less: −0.4 points of top-1 accuracy (95 % CI −1.4 "
        "to 0.5, 400 samples). They can't explain it."
    )


def test_too_few_rows_say_how_many_and_what_they_measure() -> None:
    few = replace(EXPLANATION, cause=Cause.TOO_FEW_ROWS, n_tuning=1)
    assert "Of that, all ranges of equal with minmax leave 0.2" in told(few)
    assert "1 tuning sample is too few to tell" in told(few)
    none = replace(EXPLANATION, cause=Cause.TOO_FEW_ROWS, tuning=None, n_tuning=0)
    assert told(none) == (
        "On noise ≥ 0.4 there is no tuning sample, so what clean with minmax loses there can't be "
        "explained: widen tune."
    )


def test_what_wasnt_tried_says_why() -> None:
    text = told(replace(EXPLANATION, cause=Cause.NOT_TRIED), "FP16 engines have no ranges")
    assert text == (
        "No experiment was run on clean with minmax on noise ≥ 0.4: FP16 engines have no ranges."
    )


def test_every_cause_has_a_sentence() -> None:
    for cause in Cause:
        ops = ("conv1",) if cause in {Cause.OPS, Cause.OPS_IN_PART} else ()
        assert told(replace(EXPLANATION, cause=cause, ops=ops)).endswith(".")


def test_where_experiments_ran_in_something_else_it_is_said() -> None:
    text = sentence(Told(Index(report()), EXPLANATION, 5, elsewhere="orin"))
    assert text.endswith(
        " Experiments ran as Q/DQ in onnxruntime 1.32.0, emulated, the engine in orin."
    )


@pytest.mark.parametrize(
    ("clipped", "told_as"),
    [(1.0, "100 %"), (0.294, "29 %"), (0.052, "5.2 %"), (1e-6, "less than 0.01 %")],
)
def test_shares_are_told_in_percent(clipped: float, told_as: str) -> None:
    suspect = replace(EXPLANATION.suspects[0], clipped=clipped)
    text = told(replace(EXPLANATION, suspects=(suspect,)))
    assert f"clips {told_as} of its values;" in text
