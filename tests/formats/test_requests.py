"""Request logs: read, checked, written."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calaudit.ab.traffic import Traffic, make_requests
from calaudit.formats.requests import RequestLog, read_requests, write_requests
from calaudit.runtime.errors import FileFormatError

IDS = ["007", "a", "b c", "é"]


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_times_users_samples_and_outcomes_are_read(tmp_path: Path):
    path = csv(
        tmp_path / "log.csv",
        "time,user,sample,click,label,page",
        "10.5,u1,007,true,3,home",
        "11,0042,a,false,,cart",
        "11,u1,é,,1.5,home",
    )
    log = read_requests(path, IDS)
    assert log.time.tolist() == [0.0, 0.5, 0.5]
    assert [log.users[each] for each in log.user] == ["u1", "0042", "u1"]
    assert [IDS[each] for each in log.row] == ["007", "a", "é"]
    np.testing.assert_array_equal(log.outcomes["click"], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(log.outcomes["label"], [3.0, np.nan, 1.5])
    assert set(log.outcomes) == {"click", "label"}
    (told,) = log.notices
    assert told.code == "left_out"
    assert str(told.where).endswith(": page")
    assert (len(log), log.n_unknown) == (3, 0)


STAMPS = [dt.datetime(2026, 3, 1, 12, 0, 0), dt.datetime(2026, 3, 1, 12, 0, 1, 500_000)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_timestamps_of_parquet_are_seconds(tmp_path: Path, unit: str, zone: str | None):
    times = pl.Series(STAMPS).cast(pl.Datetime(unit)).dt.replace_time_zone(zone)
    frame = pl.DataFrame({"time": times, "user": [7, 8], "sample": ["a", "a"]})
    frame.write_parquet(tmp_path / "log.parquet")
    log = read_requests(tmp_path / "log.parquet", IDS)
    assert log.time.tolist() == [0.0, 1.5]
    assert log.users == ("7", "8")


@pytest.mark.parametrize(
    "texts",
    [
        ("2026-03-01T12:00:00", "2026-03-01T12:00:01.5"),
        ("2026-03-01 12:00:00", "2026-03-01 12:00:01.500"),
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:01.5Z"),
        ("2026-03-01T12:00:00+01:00", "2026-03-01T11:00:01.5+00:00"),
    ],
)
def test_timestamps_of_csv_are_seconds(tmp_path: Path, texts: tuple[str, str]):
    rows = [f"{text},u,a" for text in texts]
    log = read_requests(csv(tmp_path / "log.csv", "time,user,sample", *rows), IDS)
    assert log.time.tolist() == [0.0, 1.5]


def test_what_is_dated_in_nanoseconds_keeps_its_microseconds(tmp_path: Path):
    start = 1_770_000_000_000_000_000
    times = pl.Series([start, start + 2_000]).cast(pl.Datetime("ns"))
    frame = pl.DataFrame({"time": times, "user": ["u", "u"], "sample": ["a", "a"]})
    frame.write_parquet(tmp_path / "log.parquet")
    assert read_requests(tmp_path / "log.parquet", IDS).time[1] == pytest.approx(2e-6, rel=1e-9)


def test_a_clock_that_was_set_back_is_counted_and_said(tmp_path: Path):
    rows = ["0,u,a", "10,u,007", "4,v,a", "11,v,a", "9,u,b c"]
    log = read_requests(csv(tmp_path / "log.csv", "time,user,sample", *rows), IDS)
    (told,) = log.notices
    assert told.code == "clock_back"
    assert "2 requests are earlier than the one above, by up to 6 s" in told.message
    assert log.time.tolist() == [0.0, 4.0, 9.0, 10.0, 11.0]
    assert [log.users[each] for each in log.user] == ["u", "v", "u", "u", "v"]
    assert [IDS[each] for each in log.row] == ["a", "a", "b c", "007", "a"]


def test_a_clock_that_was_set_forward_is_said(tmp_path: Path):
    rows = [f"{second + (3600 if second > 10 else 0)},u,a" for second in range(40)]
    log = read_requests(csv(tmp_path / "log.csv", "time,user,sample", *rows), IDS)
    (told,) = log.notices
    assert told.code == "clock_forward"
    assert "for 3,601 s, from 10 s after" in told.message


def test_quiet_minutes_of_ordinary_traffic_are_no_jump(tmp_path: Path):
    log = make_requests(Traffic(rate=0.02, seed=3), 500, len(IDS))
    write_requests(tmp_path / "log.csv", log, IDS)
    assert read_requests(tmp_path / "log.csv", IDS).notices == ()


def test_unknown_samples_are_refused_or_counted(tmp_path: Path):
    rows = ["0,u,a", "1,u,x9", "2,v,x9", "3,v,y", "4,v,007"]
    path = csv(tmp_path / "log.csv", "time,user,sample", *rows)
    told = r"3 of 5 requests ask for samples that the pool doesn't have: x9, y[\s\S]*--skip-unknown"
    with pytest.raises(FileFormatError, match=told):
        read_requests(path, IDS)
    log = read_requests(path, IDS, skip_unknown=True)
    assert (len(log), log.n_unknown) == (2, 3)
    assert [told.code for told in log.notices] == ["unknown_samples"]
    assert log.time.tolist() == [0.0, 4.0]
    assert log.users == ("u", "v")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["when,user,sample", "0,u,a"], "no column 'time'"),
        (["time,sample", "0,a"], "no column 'user'"),
        (["time,user,sample"], "holds no request"),
        (["time,user,sample", ",u,a", "1,u,a"], "1 request has no time, the first in row 1"),
        (["time,user,sample", "0,u,a", "nan,u,a"], "1 request has no time, the first in row 2"),
        (["time,user,sample", "0,,a", "1,u,a"], "1 request has no user, the first in row 1"),
        (["time,user,sample", "0,u,a", "1,u,"], "1 request has no sample, the first in row 2"),
        (["time,user,sample", "soon,u,a"], "isn't all timestamps, such as 'soon'"),
        (["time,user,sample", "1770000000000,u,a"], "are no seconds"),
        (["time,user,sample", "0,u,a", "1770000000000,u,a"], "such as 1770000000000 in row 2"),
        (["time,user,sample", "0,u,a", "1e300,u,a"], "Give seconds or timestamps"),
        (
            ["time,user,sample", "0,u,a", "nan,u,a", "inf,u,a"],
            "time is infinite, the first in row 3",
        ),
        (["time,user,sample,click", "0,u,a,inf"], "infinite"),
    ],
)
def test_bad_logs_are_refused_with_their_place(tmp_path: Path, lines: list[str], said: str):
    path = csv(tmp_path / "log.csv", *lines)
    with pytest.raises(FileFormatError) as caught:
        read_requests(path, IDS)
    assert said in str(caught.value)
    assert "log.csv" in str(caught.value)


@pytest.mark.parametrize("last", ["inf", "-inf", "1e300"])
def test_milliseconds_are_advised_only_where_they_fit(tmp_path: Path, last: str):
    path = csv(tmp_path / "log.csv", "time,user,sample", "0,u,a", f"{last},u,a")
    with pytest.raises(FileFormatError) as caught:
        read_requests(path, IDS)
    assert "illisecond" not in str(caught.value.problems[0].next_step)


def test_text_of_parquet_is_read_as_that_of_csv(tmp_path: Path):
    columns = {"time": ["10.5", "11"], "user": ["01", "2"], "sample": ["a", "007"]}
    frame = pl.DataFrame({**columns, "click": ["true", "false"], "page": ["home", "cart"]})
    frame.write_parquet(tmp_path / "log.parquet")
    frame.write_csv(tmp_path / "log.csv")
    one, other = (read_requests(tmp_path / f"log.{each}", IDS) for each in ("parquet", "csv"))
    assert one.time.tolist() == other.time.tolist() == [0.0, 0.5]
    assert one.users == other.users == ("01", "2")
    assert one.outcomes["click"].tolist() == other.outcomes["click"].tolist() == [1.0, 0.0]
    assert set(one.outcomes) == set(other.outcomes) == {"click"}


def test_a_log_of_strangers_alone_is_refused_even_so(tmp_path: Path):
    path = csv(tmp_path / "log.csv", "time,user,sample", "0,u,x")
    with pytest.raises(FileFormatError, match="no request for a known sample"):
        read_requests(path, IDS, skip_unknown=True)


@settings(max_examples=30, deadline=None)
@given(
    times=st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    suffix=st.sampled_from([".csv", ".parquet"]),
    data=st.data(),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], suffix: str, data: st.DataObject
):
    n = len(times)
    time = np.sort(times) - min(times)
    named = data.draw(st.lists(st.sampled_from(["u", "é", "01", "1"]), min_size=n, max_size=n))
    users, user = np.unique(named, return_inverse=True)
    row = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    clicks = data.draw(st.lists(st.sampled_from([0.0, 1.5, np.nan]), min_size=n, max_size=n))
    outcomes = {"click": np.array(clicks)} if not np.isnan(clicks).all() else {}
    log = RequestLog(time, user.astype(np.int64), tuple(users.tolist()), row, outcomes, n)
    path = tmp_path_factory.mktemp("log") / f"log{suffix}"
    write_requests(path, log, IDS)
    again = read_requests(path, IDS)
    np.testing.assert_allclose(again.time, log.time, rtol=0, atol=1e-9)
    assert again.users == log.users
    np.testing.assert_array_equal(again.user, log.user)
    np.testing.assert_array_equal(again.row, log.row)
    for name, values in outcomes.items():
        np.testing.assert_array_equal(again.outcomes[name], values)


def test_another_ending_is_refused(tmp_path: Path):
    log = make_requests(Traffic(rate=1), 3, 4)
    with pytest.raises(FileFormatError, match=r"\.csv or \.parquet"):
        write_requests(tmp_path / "log.json", log, IDS)


def test_the_first_requests_of_a_log_keep_their_users():
    log = make_requests(Traffic(rate=5, users=50), 200, 4)
    few = log.first(20)
    assert len(few) == 20
    assert len(few.users) == len(set(few.user.tolist()))
    whole = [log.users[each] for each in log.user[:20]]
    assert [few.users[each] for each in few.user] == whole
