"""What else the machine did while engines were measured."""

import pytest

from calaudit.bench.machine import Processors, busy_notice, look, others_share


@pytest.mark.parametrize(
    ("busy", "own", "seconds", "share"),
    [
        (20.0, 20.0, 10.0, 0.0),  # both processors, by this process alone
        (20.0, 5.0, 10.0, 0.75),
        (5.0, 6.0, 10.0, 0.0),  # ticks are rounded
        (None, 5.0, 10.0, None),
        (1.0, 1.0, 0.0, None),
    ],
)
def test_others_take_what_is_busy_and_isnt_ours(
    busy: float | None, own: float, seconds: float, share: float | None
) -> None:
    before = Processors(100.0, None if busy is None else 1000.0, 7.0, 2)
    after = Processors(100.0 + seconds, None if busy is None else 1000.0 + busy, 7.0 + own, 2)
    assert others_share(before, after) == share


def test_what_this_process_does_isnt_others() -> None:
    before = look()
    total = sum(i * i for i in range(300_000))
    after = look()
    assert total > 0
    assert after.own >= before.own
    share = others_share(before, after)
    assert share is None or 0 <= share <= 1


@pytest.mark.parametrize(("share", "told"), [(None, False), (0.02, False), (0.4, True)])
def test_a_busy_machine_is_said(share: float | None, told: bool) -> None:
    found = busy_notice(share)
    assert bool(found) == told
    if told:
        assert "other programs took 40% of the processors meanwhile" in found[0].message
