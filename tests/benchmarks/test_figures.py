import math

import pytest

from benchmarks.figures import Figure, by_turns, quantity, within


def figure(ours: tuple[float, ...], theirs: tuple[float, ...], **more: object) -> Figure:
    return Figure("sorting", ours, "a peer", theirs, **more)  # type: ignore[arg-type]


def test_the_ratio_is_of_each_repeat_and_not_of_the_medians() -> None:
    # The machine was three times slower in the last repeat, for both.
    ratio = figure((1.0, 2.0, 9.0), (2.0, 2.0, 6.0)).ratio
    assert (ratio.median, ratio.smallest, ratio.largest) == (1.0, 0.5, 1.5)
    assert str(ratio) == "1.00 (0.50 to 1.50)"


@pytest.mark.parametrize(
    ("ours", "more", "verdict"),
    [
        ((1.0, 1.1, 1.2), {"goal": 1.2}, "≤ 1.20: met"),
        ((1.0, 1.1, 1.3), {"goal": 1.2}, "≤ 1.20: met, 2 of 3"),
        ((1.0, 1.3, 1.3), {"goal": 1.2}, "≤ 1.20: missed, 1 of 3"),
        ((1.3, 1.3, 1.3), {"goal": 1.2}, "≤ 1.20: missed"),
        ((0.7, 0.9, 0.9), {"goal": 0.8, "more_is_better": True}, "≥ 0.80: met, 2 of 3"),
        ((0.7, 0.7, 0.9), {"goal": 0.8, "more_is_better": True}, "≥ 0.80: missed, 1 of 3"),
        ((1.0, 1.0, 1.0), {}, ""),
    ],
)
def test_a_goal_is_judged_by_the_median(
    ours: tuple[float, ...], more: dict[str, object], verdict: str
) -> None:
    judged = figure(ours, (1.0, 1.0, 1.0), **more)
    assert judged.verdict == verdict
    assert judged.met is (": met" in verdict if verdict else None)


def test_a_limit_is_kept_up_to_itself() -> None:
    peak = within("peak", (2.0**31, 2.0**30), 2**31, unit="B")
    assert peak.met
    assert peak.cells() == (
        "peak",
        "1.50 GiB",
        "limit of 2.00 GiB",
        "2.00 GiB",
        "0.75 (0.50 to 1.00)",
        "≤ 1.00: met",
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234, "s", "1.23 s"),
        (0.01234, "s", "12.3 ms"),
        (123.4, "s", "123 s"),
        (4.2e-7, "s", "420 ns"),
        (3.0e-10, "s", "0.300 ns"),
        (5 * 2**20, "B", "5.00 MiB"),
        (34_567.0, "rows/s", "34,567 rows/s"),
        (0.0, "s", "0 ns"),
    ],
)
def test_quantities_have_three_digits(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [((), ()), ((1.0,), (1.0, 1.0)), ((0.0,), (1.0,)), ((1.0,), (math.nan,))],
)
def test_what_gives_no_ratio_is_refused(ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sorting"):
        figure(ours, theirs)


def test_peers_take_turns_after_one_run_that_does_not_count() -> None:
    said: list[str] = []

    def measure(work: object) -> float:
        work()  # type: ignore[operator]
        return float(len(said))

    found = by_turns(lambda: said.append("ours"), lambda: said.append("theirs"), 2, measure)
    assert said == ["ours", "theirs"] * 3
    assert found == ((3.0, 5.0), (4.0, 6.0))
