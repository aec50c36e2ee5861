"""What a GPU did, from readings whose power is planted."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.backends.gpu_use import gpu_use
from calaudit.backends.timed import GpuReading, Times

STEP = 0.1
"""Seconds between two steps of the counter."""


def block(
    seconds: float, *, watts: float = 200.0, runs: int = 100, start: float = 3.21,
    told: Callable[[float], dict[str, object]] = lambda at: {},
) -> Times:  # fmt: skip
    """Readings every 20 ms of a GPU that draws `watts` all the time, by a counter that steps."""
    readings = [
        GpuReading(
            at=at,
            **{"energy_joules": watts * STEP * np.floor(at / STEP), **told(at)},  # type: ignore[arg-type]
        )
        for at in np.arange(start, start + seconds, 0.02)
    ]
    return Times(host_ms=np.full(runs, 1.0), seconds=seconds, readings=tuple(readings))


@given(
    seconds=st.floats(0.35, 3), start=st.floats(0, 1), watts=st.floats(20, 700),
    batch=st.integers(1, 64),
)  # fmt: skip
def test_energy_per_sample_is_what_was_drawn_wherever_a_block_cuts_the_counter(
    seconds: float, start: float, watts: float, batch: int
) -> None:
    found = gpu_use(
        [block(seconds, watts=watts, start=start) for _ in range(8)], batch=batch, streams=2
    )
    assert found is not None
    assert found.power_watts is not None
    assert found.energy_joules is not None
    # steps are seen up to 20 ms late
    allowed = 0.021 / (seconds - 2 * STEP - 0.02) if seconds > 0.5 else 0.25
    assert found.power_watts.value == pytest.approx(watts, rel=allowed)
    per_sample = watts * seconds / (100 * batch)
    assert found.energy_joules.value == pytest.approx(per_sample, rel=allowed)
    assert (found.batch, found.streams) == (batch, 2)


def test_the_naive_difference_would_be_off() -> None:
    """That of the first and the last reading: the planted world isn't one where anything goes."""
    one = block(0.35, start=3.29)
    first, last = one.readings[0].energy_joules, one.readings[-1].energy_joules
    assert first is not None
    assert last is not None
    assert abs((last - first) / one.seconds - 200) > 20
    found = gpu_use([one] * 6, batch=1, streams=1)
    assert found is not None
    assert found.power_watts is not None
    assert found.power_watts.value == pytest.approx(200, rel=0.11)


def test_power_is_taken_where_there_is_no_counter_or_it_didnt_step() -> None:
    def told(at: float) -> dict[str, object]:
        # a mean of the second before: the first half second is of what ran before
        return {"energy_joules": None, "power_watts": 50.0 if at < 3.6 else 250.0}

    found = gpu_use([block(2, told=told)] * 6, batch=4, streams=1)
    assert found is not None
    assert found.power_watts is not None
    assert found.power_watts.value == pytest.approx(250)
    short = gpu_use([block(0.05, told=lambda at: {"power_watts": 120.0})] * 6, batch=1, streams=1)
    assert short is not None
    assert short.power_watts is not None
    assert short.power_watts.value == pytest.approx(120)
    bare = gpu_use([block(0.05)], batch=1, streams=1)
    assert bare is not None
    assert bare.power_watts is None
    assert bare.energy_joules is None


def test_clocks_temperature_and_reasons_are_of_all_readings() -> None:
    def told(at: float) -> dict[str, object]:
        late = at > 3.5
        return {
            "sm_clock_mhz": 1980.0 if late else 345.0,
            "memory_clock_mhz": 2619.0,
            "temperature_celsius": 61.0 if 3.6 < at < 3.7 else 50.0,
            "utilisation": 0.9 if at - 3.21 >= 0.5 else 0.1,
            "throttled": ("sw_power_cap",) if late else (),
        }

    found = gpu_use([block(2, told=told)] * 6, batch=1, streams=1)
    assert found is not None
    assert (found.sm_clock_mhz, found.memory_clock_mhz) == (1980, 2619)
    assert found.temperature_celsius == 61
    assert found.utilisation == pytest.approx(0.9)
    assert found.throttled == ("sw_power_cap",)


def test_intervals_are_over_blocks_and_none_was_read_is_none() -> None:
    blocks = [block(1, watts=watts) for watts in (190, 195, 200, 205, 210, 198)]
    found = gpu_use(blocks, batch=1, streams=1)
    assert found is not None
    assert found.power_watts is not None
    assert found.power_watts.low is not None
    assert found.power_watts.high is not None
    assert 185 < found.power_watts.low < 200 < found.power_watts.high < 215
    unread = Times(host_ms=np.ones(3), seconds=1.0)
    assert gpu_use([unread], batch=1, streams=1) is None
