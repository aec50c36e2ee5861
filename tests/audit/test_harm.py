"""Predicted harm in an audit's report, computed again from the pool and the engines it left."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from calaudit.audit import harm, stages
from calaudit.audit.harm import harm_notices
from calaudit.audit.run import run_audit
from calaudit.formats.pool import open_pool
from calaudit.results.comparison import Result, Verdict
from calaudit.results.harm import HarmRank, HarmRecord
from calaudit.results.report import Report
from calaudit.slices.evaluate import select_rows
from tests.audit.test_report_values import answers
from tests.audit.world import AUDIT, make_world

FOUR = AUDIT.replace('["minmax", "mse"]', '["minmax", "entropy", "percentile", "mse"]')
WHERE = {
    "all": "true",
    "loudness = loud": "loudness = 'loud'",
    "loudness = quiet": "loudness = 'quiet'",
    "hard": "margin < 0.5",
}


class Found:
    def __init__(self, folder: Path, report: Report) -> None:
        assert report.harm is not None
        self.report, self.harm, self.folder = report, report.harm, folder
        self.x = {}
        with open_pool(folder / "pool.h5") as pool:
            for split in ("calibration", "evaluation"):
                for name, where in WHERE.items():
                    rows = select_rows(f"split = '{split}' and {where}", pool)
                    self.x[split, name] = pool.read_inputs(rows)["x"]

    def table(self, cell: str) -> dict[str, Any]:
        record = next(each for each in self.report.cells if each.id == cell)
        content = json.loads((self.folder / "audit" / str(record.scales)).read_text())
        return dict(content["taps"])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("harm")
    report, _ = run_audit(make_world(folder, n=1600, audit=FOUR), formats="none")
    return Found(folder, report)


def test_it_says_what_it_rests_on(found: Found) -> None:
    record = found.harm
    assert record.tune == "split = 'calibration'"
    assert record.rows == record.observed == len(found.x["calibration", "all"])
    assert {each.slice: each.n for each in record.slices} == {
        name: len(found.x["calibration", name]) for name in WHERE
    }
    assert record.taps == 1
    assert (found.folder / "audit" / str(record.file)).exists()
    assert [each.cell for each in record.cells] == [each.id for each in found.report.cells]


def test_harm_is_that_of_fake_quantization_of_the_tuning_rows(found: Found) -> None:
    for cell in found.harm.cells:
        step = found.table(cell.cell)["x"]["scale"]
        for place, name in enumerate(WHERE):
            x = np.abs(found.x["calibration", name].astype(np.float64))
            lost = np.square(x - np.minimum(np.rint(x / step), 127) * step)
            clipped = x > 127.5 * step
            power = np.square(x).sum()
            assert cell.clipping[place] == pytest.approx(
                lost[clipped].sum() / power, rel=0.05, abs=1e-6
            )
            assert cell.resolution[place] == pytest.approx(lost[~clipped].sum() / power, rel=0.05)
        (tap,) = cell.taps
        assert (tap.tap, tap.clipping, tap.resolution) == ("x", cell.clipping, cell.resolution)
        assert tap.amax == pytest.approx(found.table(cell.cell)["x"]["amax"])


def test_no_ranges_do_less_than_the_least_and_none_beat_the_bound(found: Found) -> None:
    least = np.array([each.least for each in found.harm.slices])
    for cell in found.harm.cells:
        assert (np.array(cell.total) >= least * 0.999).all()
        assert max(cell.total) >= found.harm.bound * 0.999
    x = np.abs(found.x["calibration", "all"].astype(np.float64))
    tried = []
    for step in np.geomspace(x.max() / 30, x.max(), 300) / 127:
        worst = 0.0
        for name in WHERE:
            x = np.abs(found.x["calibration", name].astype(np.float64))
            lost = np.square(x - np.minimum(np.rint(x / step), 127) * step)
            worst = max(worst, lost.sum() / np.square(x).sum())
        tried.append(worst)
    assert found.harm.bound == pytest.approx(min(tried), rel=0.05)


def test_output_errors_are_those_of_the_engines_run_again(found: Found) -> None:
    for cell in found.harm.cells:
        record = next(each for each in found.report.cells if each.id == cell.cell)
        for place, name in enumerate(WHERE):
            x = found.x["evaluation", name]
            fp32 = answers(found.folder / "model.onnx", x).astype(np.float64)
            int8 = answers(found.folder / "audit" / str(record.file), x).astype(np.float64)
            error = np.square(int8 - fp32).sum() / np.square(fp32).sum()
            assert cell.output_error[place] == pytest.approx(error, rel=1e-3)


def test_ranks_are_scipys_within_slices(found: Found) -> None:
    predicted = np.array([cell.total for cell in found.harm.cells])
    errors = np.array([cell.output_error for cell in found.harm.cells])
    drops = {(r.cell, r.slice): r.drop for r in found.report.results if r.metric == "nll"}
    nll = np.array([[drops[c.cell, name] for name in WHERE] for c in found.harm.cells])
    ranks = {rank.metric: rank for rank in found.harm.ranks}
    assert list(ranks) == [None, "top1", "nll", "balanced_accuracy", "top1_agreement"]
    for metric, measured in ((None, errors), ("nll", nll)):
        each = [
            stats.spearmanr(a, b).statistic for a, b in zip(predicted.T, measured.T, strict=True)
        ]
        # the report's numbers are rounded: ties may come of that
        assert ranks[metric].correlation == pytest.approx(np.mean(each), abs=0.05)
        assert ranks[metric].cells == 8
    assert ranks[None].correlation > 0.8
    assert not ranks[None].weak


def test_a_second_run_says_the_same(found: Found) -> None:
    again, _ = run_audit(found.folder / "audit.toml", formats="none")
    assert again.harm == found.harm


def test_histograms_that_wait_in_their_file_and_slices_looked_at_in_turn_say_the_same(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_HELD_BYTES", 0)
    monkeypatch.setattr(harm, "MOST_TOGETHER", 1)
    again, _ = run_audit(found.folder / "audit.toml", formats="none")
    assert again.harm == found.harm


def ranked(*ranks: HarmRank) -> HarmRecord:
    return HarmRecord("split = 'calibration'", 9, 9, 1, (), None, (), ranks)


def test_a_weak_prediction_is_warned_of(found: Found) -> None:
    results = list(found.report.results)
    regressed = [r for r in results if r.verdict == Verdict.REGRESSED and r.metric == "top1"]
    assert regressed
    harmless = [r for r in results if r.verdict != Verdict.REGRESSED]
    good, bad = HarmRank(None, 0.9, 0.001, 8, 4), HarmRank(None, 0.1, 0.3, 8, 4)
    drops = HarmRank("top1", 0.2, 0.3, 8, 4)

    def told(rank: HarmRank, results: list[Result]) -> list[str]:
        return [notice.message for notice in harm_notices(ranked(rank, drops), results)]

    (harmless_drops,) = told(good, harmless)
    assert "drops of top1 (0.20, p = 0.3, no regression among them)" in harmless_drops
    assert told(good, [replace(r, verdict=None) for r in results]) == []
    (of_drops,) = told(good, results)
    assert "drops of top1 (0.20, p = 0.3)" in of_drops
    assert "error of their outputs" not in of_drops
    (of_errors,) = told(bad, harmless)
    assert "the error of their outputs (0.10, p = 0.3)" in of_errors
    assert "and drops of top1" in told(bad, results)[0]
    unknown = HarmRank(None, None, None, 3, 4)
    assert list(harm_notices(ranked(unknown), results)) == []
