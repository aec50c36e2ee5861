"""Nets with a planted reason: what is recommended is what the truth allows."""

import tomllib
from pathlib import Path

import pytest
from worlds.planted import KINDS, Planted, write_world

from calaudit.recommend.run import recommend_audit
from calaudit.results.comparison import Verdict
from calaudit.results.recommendation import Outcome, Recommendation, Remedy
from calaudit.results.report import Report

pytestmark = pytest.mark.slow

RANGES = {
    Remedy.PLAIN_SET,
    Remedy.OTHER_SET,
    Remedy.MIXTURE,
    Remedy.METHODS_PER_TAP,
    Remedy.FREE_RANGES,
}
BY_NAME = {kind.name: kind for kind in KINDS}


def recommended(folder: Path, kind: Planted) -> tuple[Report, Recommendation]:
    report, _ = recommend_audit(write_world(folder, kind, seed=0), formats="none")
    assert report.recommendation is not None
    return report, report.recommendation


@pytest.mark.parametrize("name", ["stretched by dark", "two taps"])
def test_where_ranges_are_guilty_something_else_ships(tmp_path: Path, name: str) -> None:
    """Ranges alone would do, but they clip what no op reads, which predicted harm can't know."""
    _, found = recommended(tmp_path, BY_NAME[name])
    assert (found.outcome, found.verdict) == (Outcome.SHIP, Verdict.PASS)
    assert found.remedy in {*RANGES, Remedy.FLOAT_OPS}
    plain = next(each for each in found.options if each.cell == found.plain)
    assert plain.name == "both/minmax"
    assert plain.holds is False
    assert all(each.gain.low is not None and each.gain.low > 0 for each in found.gains)


def test_a_head_that_needs_float_is_left_in_float(tmp_path: Path) -> None:
    report, found = recommended(tmp_path, BY_NAME["head needs float"])
    assert found.outcome is Outcome.SHIP
    assert found.remedy is Remedy.FLOAT_OPS
    winner = next(each for each in found.options if each.cell == found.winner)
    assert winner.float_ops == ("gemm4",)
    assert found.winner.endswith("+gemm4")
    assert winner.name.endswith("+gemm4")
    assert f"{winner.name.replace('/', ' with ')}”" in found.sentence
    assert found.float_macs is not None
    assert 0 < found.float_macs < 0.5
    assert "gemm4 left in float" in found.sentence
    assert not any(each.holds for each in found.options if each.remedy in RANGES)
    cell = next(each for each in report.cells if each.id == found.winner)
    assert cell.role == "candidate"


def test_where_nothing_is_planted_the_plain_set_ships(tmp_path: Path) -> None:
    _, found = recommended(tmp_path, BY_NAME["nothing"])
    assert found.outcome is not Outcome.NOTHING_HOLDS
    assert found.remedy is Remedy.PLAIN_SET
    assert found.winner.startswith("both/")


def test_an_exemption_of_the_audit_keeps_its_name(tmp_path: Path) -> None:
    path = write_world(tmp_path, BY_NAME["head needs float"], seed=0)
    with path.open("a", encoding="utf-8") as file:
        file.write('\n[[exemptions]]\nname = "my head"\nfloat_ops = ["gemm4"]\n')
    report, json = recommend_audit(path, formats="none")
    found = report.recommendation
    assert found is not None
    assert found.winner.endswith("+my head")
    winner = next(each for each in found.options if each.cell == found.winner)
    assert winner.name == found.winner
    content = tomllib.loads(json.parent.with_suffix(".toml").read_text(encoding="utf-8"))
    assert "my head" in [each["name"] for each in content["exemptions"]]
