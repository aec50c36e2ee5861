import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.report.wording import (
    amount,
    between,
    change,
    change_of_metric,
    difference,
    in_sentence,
    score,
)
from calaudit.runtime.words import visible
from tests.report.factory import NLL, TOP1, replace


@given(st.text())
def test_names_are_shown_without_any_character_that_acts(name: str) -> None:
    shown = visible(name)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert visible(shown) == shown


def test_acting_characters_are_spelled_out_and_others_kept() -> None:
    assert visible("a\x1b[31m\n\u202eb\x00") == r"a\x1b[31m\n\u202eb\x00"
    assert (
        visible("0 ≤ snr_db < 5 & 音声 [red] :smile: 😀")
        == "0 ≤ snr_db < 5 & 音声 [red] :smile: 😀"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0614, "6.1"),
        (-0.002, "−0.2"),
        (-0.0001, "0.0"),
        (0.0, "0.0"),
        (None, "–"),
        (1.0, "100.0"),
    ],
)
def test_fractions_drop_in_points(value: float | None, shown: str) -> None:
    assert difference(TOP1, value) == shown


def test_other_units_are_not_turned_into_points() -> None:
    output = replace(NLL, unit="output")
    assert difference(NLL, 0.0312) == "0.031"
    assert difference(output, 1234.5) == score(output, 1234.5) == "1.23e+03"
    assert score(output, -2e-7) == "−2e-07"


@pytest.mark.parametrize("unit", ["nats", "bits", "index", "cosine", "target"])
def test_what_three_decimals_would_not_show_has_significant_digits(unit: str) -> None:
    metric = replace(NLL, unit=unit)
    assert score(metric, 3.75e-7) == difference(metric, 3.75e-7) == "3.75e-07"
    assert score(metric, -4e-5) == "−4e-05"
    assert between(metric, 1e-7, 2.5e-7) == "1e-07–2.5e-07"
    assert between(metric, -1e-7, 2.5e-7) == "−1e-07 to 2.5e-07"
    assert change_of_metric(metric, 3.75e-7).endswith(f"by {amount(metric, 3.75e-7)}")
    assert amount(metric, 3.75e-7).startswith("3.75e-07")


def test_what_rounding_leaves_is_nothing_and_fractions_keep_their_decimals() -> None:
    assert score(replace(NLL, unit="cosine"), 2e-16) == "0.000"
    assert score(NLL, 0.0) == "0.000"
    assert score(NLL, -2e-16) == "0.000"
    assert score(TOP1, 0.0004) == "0.000"
    assert change(NLL, -4e-5) == "improves by 4e-05"


def test_an_interval_with_a_negative_end_has_no_dash() -> None:
    assert between(TOP1, 0.048, 0.075) == "4.8–7.5"
    assert between(TOP1, -0.003, 0.028) == "−0.3 to 2.8"
    assert between(TOP1, 0.01, None) == "1.0 to –"


def test_a_drop_is_a_loss_whichever_way_the_metric_points() -> None:
    assert change_of_metric(TOP1, 0.061) == "loses 6.1 points of top-1 accuracy"
    assert change_of_metric(TOP1, -0.002) == "gains 0.2 points of top-1 accuracy"
    assert change_of_metric(NLL, 0.03) == "worsens negative log-likelihood by 0.030 nats"
    assert change_of_metric(NLL, -0.03) == "improves negative log-likelihood by 0.030 nats"
    assert change_of_metric(TOP1, None) == "couldn't be measured in top-1 accuracy"


def test_what_rounds_to_nothing_is_no_gain() -> None:
    assert change(TOP1, -0.0001) == "loses 0.0"


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Top-1 accuracy", "top-1 accuracy"),
        ("nDCG@10", "nDCG@10"),
        ("Gini of exposure@10", "Gini of exposure@10"),
        ("NLL", "NLL"),
        ("", ""),
    ],
)
def test_titles_fit_into_sentences(title: str, shown: str) -> None:
    assert in_sentence(replace(TOP1, title=title)) == shown
