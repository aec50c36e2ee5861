"""What is recommended in worlds whose truth is known, and the audit file that proves it."""

import tomllib
from pathlib import Path

import pytest

from calaudit.formats.scales import open_scales
from calaudit.report.files import read_report
from calaudit.results.comparison import Verdict
from calaudit.results.recommendation import Outcome, Recommendation, Remedy
from calaudit.results.report import Report
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

pytestmark = pytest.mark.slow

QUIET = """
[[calibsets]]
name = "quiet only"
size = 40
candidates = "split = 'calibration' and loudness = 'quiet'"
"""
SETS = AUDIT[AUDIT.index("[[calibsets]]") : AUDIT.index("[[tasks]]")]
LOUD_GATE = 'slices = "loudness = loud"\nmax_drop = 0.05'
HARMFUL = AUDIT.replace("[[calibsets]]", f"{QUIET}\n[[calibsets]]", 1).replace(
    "max_drop = 0.05", LOUD_GATE
)
"""Calibrated on quiet samples alone, loud ones are clipped; the gate looks at loud ones."""
NULL = (
    AUDIT.replace("'evaluation'", "'evaluation' and loudness = 'loud'")
    .replace("'calibration'\"", "'calibration' and loudness = 'loud'\"", 1)
    .replace(SETS, '[[calibsets]]\nname = "uniform"\nsize = 60\n\n[[calibsets]]\nname = "other"\n'
             'size = 60\nrole = "candidate"\n\n')
    .replace('[[slices]]\nby = "loudness"\n\n', "")
)  # fmt: skip
"""Loud samples alone: no set harms anybody."""
TRAPPED = AUDIT.replace(SETS, '[[calibsets]]\nname = "uniform"\nsize = 60\n\n').replace(
    "max_drop = 0.05", 'slices = "loudness*"\nmax_drop = 0.01'
)
"""Quiet samples are lost with any range that serves loud ones, and one product is all there is."""


def recommended(folder: Path, *arguments: object, text: str, n: int = 3000) -> tuple[Report, int]:
    audit = make_world(folder, n=n, audit=text)
    ended = calaudit("recommend", audit, "--formats", "markdown", *arguments)
    assert ended.status in {0, 1, 3}, ended.err
    assert "Recommendation" in ended.out
    report = read_report(folder / "audit/recommend/recommended/report.json")
    last = ended.out.splitlines()[-1]
    assert last.startswith("Next: calaudit export ") == (told(report).outcome is Outcome.SHIP)
    return report, ended.status


def told(report: Report) -> Recommendation:
    assert report.recommendation is not None
    return report.recommendation


@pytest.fixture(scope="module")
def harmful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, int]:
    folder = tmp_path_factory.mktemp("harmful")
    return folder, *recommended(folder, "--plain", "quiet only", text=HARMFUL)


def test_where_the_plain_set_harms_another_set_ships(harmful: tuple[Path, Report, int]) -> None:
    _, report, status = harmful
    found = told(report)
    assert status == 0
    assert (found.outcome, found.verdict) == (Outcome.SHIP, Verdict.PASS)
    assert found.remedy is Remedy.OTHER_SET
    assert found.plain.startswith("quiet only")
    assert found.winner in {each.id for each in report.cells if each.role == "candidate"}
    (gain,) = [each for each in found.gains if each.slice == "loudness = loud"]
    assert gain.gain.low is not None
    assert gain.gain.low > 0.1
    assert gain.plain is not None
    assert gain.winner is not None
    assert gain.gain.value == pytest.approx(gain.plain - gain.winner)
    assert found.sentence.startswith("Ship the calibration set")


def test_the_winner_is_the_only_candidate(harmful: tuple[Path, Report, int]) -> None:
    """So that verdict and exit status of the written audit are the winner's."""
    _, report, _ = harmful
    found = told(report)
    assert [each.id for each in report.cells if each.role == "candidate"] == [found.winner]
    assert report.verdict == found.verdict
    others = {each.id for each in report.cells if each.role == "control"}
    assert {found.plain, *found.rivals} == others
    regressed = {r.cell for r in report.results if r.verdict == "REGRESSED"}
    assert found.plain in regressed


def test_choosing_does_not_see_evaluated_rows(tmp_path: Path) -> None:
    """With evaluated labels shuffled, all that is chosen and written is the same."""
    import h5py
    import numpy as np

    folders = [tmp_path / "as-is", tmp_path / "shuffled"]
    for folder in folders:
        audit = make_world(folder, n=1200, audit=HARMFUL)
        if folder.name == "shuffled":
            with h5py.File(folder / "pool.h5", "r+") as file:
                split = file["meta/split"].asstr()[()]
                labels = file["targets/label"][()]
                judged = np.flatnonzero(split == "evaluation")
                labels[judged] = np.random.default_rng(0).permutation(labels[judged])
                file["targets/label"][...] = labels
        calaudit("recommend", audit, "--plain", "quiet only", "--formats", "none")
    reports = [read_report(each / "audit/recommend/recommended/report.json") for each in folders]
    one, other = map(told, reports)
    assert one.options == other.options
    assert (one.winner, one.rivals, one.bound) == (other.winner, other.rivals, other.bound)
    assert reports[0].results != reports[1].results


def test_the_written_audit_can_be_run_by_anybody(harmful: tuple[Path, Report, int]) -> None:
    folder, report, _ = harmful
    path = folder / "audit" / "recommend" / "recommended.toml"
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    assert content["audit"]["relative_to"] == "../.."
    again = calaudit("compare", path, "--out", folder / "again", "--formats", "none")
    assert again.status == 0, again.err
    made = read_report(folder / "again" / "report.json")
    assert made.results == report.results


def test_options_say_what_was_tried_and_how_it_did(harmful: tuple[Path, Report, int]) -> None:
    _, report, _ = harmful
    found = told(report)
    prices = [list(Remedy).index(each.remedy) for each in found.options]
    assert prices == sorted(prices)
    by_name = {each.name: each for each in found.options}
    assert by_name["quiet only/minmax"].holds is False
    assert by_name["quiet only/minmax"].used is not None
    assert by_name["quiet only/minmax"].used > 1
    assert by_name[found.winner].holds is True
    free = by_name["minimax"]
    assert free.predicted is not None
    least = min(each.predicted for each in found.options if each.predicted is not None)
    assert free.predicted <= least * 1.01


def test_the_bound_is_below_all_that_was_predicted(harmful: tuple[Path, Report, int]) -> None:
    _, report, _ = harmful
    found = told(report)
    assert found.bound is not None
    assert 0 <= found.bound.bound <= found.bound.reached
    assert found.bound.plain_harm is not None
    assert found.bound.best_set_harm is not None
    assert found.bound.bound <= found.bound.best_set_harm <= found.bound.plain_harm
    assert all(
        found.bound.bound <= each.predicted * (1 + 1e-9)
        for each in found.options
        if each.predicted is not None
    )
    assert sum(each.weight for each in found.bound.limits) == pytest.approx(1.0, abs=0.05)


def test_where_nothing_harms_the_plain_set_ships(tmp_path: Path) -> None:
    report, status = recommended(tmp_path, text=NULL)
    found = told(report)
    assert status == 0
    assert found.outcome is Outcome.SHIP
    assert found.remedy is Remedy.PLAIN_SET
    assert found.winner.startswith("uniform/")
    assert "Ship the plain set “uniform with" in found.sentence
    assert any(each.startswith("mixture: a calibration set") for each in found.untried)
    assert any(each.startswith("ops in float: ranges alone hold") for each in found.untried)


def test_where_no_ranges_can_it_is_said_with_the_bound(tmp_path: Path) -> None:
    report, status = recommended(tmp_path, text=TRAPPED)
    found = told(report)
    assert status == 1
    assert (found.outcome, found.verdict) == (Outcome.NOTHING_HOLDS, Verdict.REGRESSED)
    assert not any(each.holds for each in found.options)
    assert "No ranges that were tried keep the gates" in found.sentence
    remedies = {each.remedy for each in found.options}
    assert {Remedy.MIXTURE, Remedy.METHODS_PER_TAP, Remedy.FREE_RANGES} <= remedies
    mixture = next(each for each in found.options if each.remedy is Remedy.MIXTURE)
    assert mixture.name.startswith("mixture by loudness/")


def test_few_tuning_rows_keep_the_plain_set_and_are_told_of(tmp_path: Path) -> None:
    text = HARMFUL.replace("[[slices]]", "tune_samples = 12\n\n[[slices]]", 1)
    report, _ = recommended(tmp_path, text=text, n=1500)
    found = told(report)
    assert found.n_tuning == 12
    assert found.winner == found.plain
    assert found.remedy is Remedy.PLAIN_SET
    assert "Only 12 tuning rows chose, too few to tell engines apart: it takes 40" in found.sentence


def test_enough_tuning_rows_are_not_told_to_be_few(harmful: tuple[Path, Report, int]) -> None:
    assert "too few to tell" not in told(harmful[1]).sentence


def test_without_gates_no_slice_is_traded_for_another(tmp_path: Path) -> None:
    """Other sets save loud samples, and of quiet ones lose more than they save of hard ones."""
    text = HARMFUL[: HARMFUL.index("[[gates]]")]
    report, status = recommended(tmp_path, "--plain", "quiet only", text=text)
    found = told(report)
    assert (status, found.outcome, found.remedy) == (3, Outcome.COLLECT, Remedy.PLAIN_SET)
    assert found.winner == found.plain
    assert "nothing that was tried is shown to do better than the plain set" in found.sentence
    used = {each.name: each.used for each in found.options if each.used is not None}
    assert min(used.values()) < used["quiet only/minmax"]


def test_too_few_evaluated_samples_are_said_to_be_lacking(tmp_path: Path) -> None:
    report, status = recommended(tmp_path, text=NULL.replace("0.05", "0.004"), n=1500)
    found = told(report)
    assert status == 3
    assert found.outcome is Outcome.COLLECT
    assert found.collect
    assert all(each.n_needed is None or each.n_needed > each.n for each in found.collect)
    assert found.sentence.startswith("Nothing ships yet")
    assert "Collect samples of" in found.sentence


def test_a_repeated_draw_is_handed_over_as_a_file(tmp_path: Path) -> None:
    text = HARMFUL.replace('methods = ["minmax", "mse"]', 'methods = ["minmax"]\nreplicates = 2')
    report, _ = recommended(tmp_path, "--plain", "quiet only", text=text, n=1500)
    names = {each.name for each in told(report).options}
    assert "both#2/minmax" in names
    content = tomllib.loads(
        (tmp_path / "audit/recommend/recommended.toml").read_text(encoding="utf-8")
    )
    drawn = [each for each in content["calibsets"] if ", draw 2" in each["name"]]
    for each in drawn:
        assert (tmp_path / each["file"]).exists()
    assert drawn


def test_scale_tables_that_are_written_are_the_ones_that_were_tried(tmp_path: Path) -> None:
    """Free ranges and methods per tap become given ranges."""
    report, _ = recommended(tmp_path, text=TRAPPED, n=1500)
    found = told(report)
    files = {each.name: each.file for each in found.options if each.file is not None}
    assert files
    for name, file in files.items():
        path = tmp_path / "audit" / "recommend" / file
        assert path.exists()
        if path.suffix == ".json":
            table = open_scales(path)
            assert set(table.taps) == {"x"}, name


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (lambda text: text, ("--plain", "nobody"), "no candidate is called 'nobody'"),
        (
            lambda text: text.replace("size = 40\n", 'size = 40\nrole = "control"\n'),
            (),
            "no calibration set is a candidate",
        ),
        (
            lambda text: text.replace("evaluate = \"split = 'evaluation'\"", 'evaluate = "true"'),
            (),
            "",
        ),
    ],
)
def test_what_cannot_be_chosen_from_is_an_error(
    tmp_path: Path, change: object, arguments: tuple[object, ...], said: str
) -> None:
    audit = make_world(tmp_path, n=400, audit=change(AUDIT))  # type: ignore[operator]
    ended = calaudit("recommend", audit, *arguments)
    assert ended.status == 2
    assert said in ended.err
