import math
from pathlib import Path

import pytest

from calaudit.cli.flags import read_dimensions
from calaudit.runtime.errors import SettingsError
from calaudit.slices.dimension import Dimension
from tests.cli.running import calaudit


@pytest.mark.parametrize(
    ("flag", "dimension"),
    [
        ("speaker", Dimension(by="speaker")),
        ("snr_db:edges=-5,0,2.5", Dimension(by="snr_db", edges=(-5, 0, 2.5))),
        ("snr_db:edges=0,inf", Dimension(by="snr_db", edges=(0, math.inf))),
        ("activity:quantiles=3", Dimension(by="activity", quantiles=3)),
        ("activity:quantiles=0.1,0.9", Dimension(by="activity", quantiles=(0.1, 0.9))),
        ("activity:quantiles=0.5", Dimension(by="activity", quantiles=(0.5,))),
        ("label:tail=0.5,0.8:name=class", Dimension(by="label", tail=(0.5, 0.8), name="class")),
        (
            "item:tail=0.8:count=plays:tail_labels=hits, niche:missing=drop:min_support=5",
            Dimension(
                by="item",
                tail=(0.8,),
                count="plays",
                tail_labels=("hits", "niche"),
                missing="drop",
                min_support=5,
            ),
        ),
        ("a:b", Dimension(by="a:b")),
    ],
)
def test_a_by_flag_declares_this_dimension(flag: str, dimension: Dimension) -> None:
    assert read_dimensions([flag]) == [dimension]


def test_flags_come_in_the_order_by_where_cross() -> None:
    found = read_dimensions(
        ["b", "a"], ["loud=rms > 0.1", "x = y='=:edges=1'"], ["a,b", "b, loud:name=c"]
    )
    assert found == [
        Dimension(by="b"),
        Dimension(by="a"),
        Dimension(name="loud", where="rms > 0.1"),
        Dimension(name="x", where="y='=:edges=1'"),
        Dimension(cross=("a", "b")),
        Dimension(cross=("b", "loud"), name="c"),
    ]


def test_support_is_for_flags_that_do_not_give_their_own() -> None:
    found = read_dimensions(["a", "b:min_support=3"], min_support=100)
    assert [dimension.min_support for dimension in found] == [100, 3]


def test_no_flags_declare_nothing() -> None:
    assert read_dimensions(None, None, None) == []


def test_all_flags_that_cannot_be_read_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_dimensions(
            ["a:edgs=1", "a:edges=x", "a:edges=3,1", "a:quantiles=many", "fine"],
            ["rms > 0.1", "rms >= 0.1", "=rms > 1"],
            ["a"],
        )
    problems = caught.value.problems
    assert [problem.where for problem in problems] == [
        "--by a:edgs=1",
        "--by a:edges=x",
        "--by a:edges=3,1",
        "--by a:quantiles=many",
        "--where rms > 0.1",
        "--where rms >= 0.1",
        "--where =rms > 1",
        "--cross a",
    ]
    assert all(problem.next_step for problem in problems)
    assert problems[0].next_step == "Did you mean edges?"


@pytest.mark.parametrize(("command", "now"), [("compare", "--dask"), ("slices", "--cluster-by")])
def test_a_renamed_flag_is_refused_with_its_new_name(
    tmp_path: Path, command: str, now: str
) -> None:
    ended = calaudit(command, tmp_path / "a.toml", "--cluster", "x")
    assert ended.status == 2
    assert f"--cluster: this flag was renamed to {now}\n  → Write {now} instead." in ended.err
    assert "--cluster " not in calaudit(command, "--help").out
