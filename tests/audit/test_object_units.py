"""Tasks that judge images and their objects: units, slices, gates and words of each."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.explain.run import explain_audit
from calaudit.formats.pool import open_pool
from calaudit.formats.predictions import Predictions
from calaudit.report.files import read_report
from calaudit.runtime.errors import PoolError, SliceError
from calaudit.slices.evaluate import select_rows
from tests.audit.spots import CLASSES, SPOTS, make_spots, spots_installed
from tests.audit.world import make_world


@pytest.fixture(scope="module", autouse=True)
def spots(tmp_path_factory):
    with spots_installed(tmp_path_factory.mktemp("spots")):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    audit = make_spots(tmp_path_factory.mktemp("finished"))
    run_audit(audit)
    return audit


class Again:
    """What the audit looked at, and what engines found, from the files it left."""

    def __init__(self, audit: Path) -> None:
        folder = audit.with_suffix("")
        self.report = read_report(folder / "report.json")
        with h5py.File(audit.parent / "pool.h5") as file:
            group = file["targets/spots"]
            offsets, self.label = group["offsets"][:], group["label"][:]
            self.loudness = file["meta/loudness"].asstr()[:]
            rows = np.flatnonzero(file["meta/split"].asstr()[:] == "evaluation")
        self.image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        kept = np.isin(self.image, rows)
        self.image, self.label, self.rows = self.image[kept], self.label[kept], rows
        self.found = {
            each.id: self._found(folder / str(each.predictions)) for each in self.report.cells
        }
        self.fp32 = self._found(folder / str(self.report.reference.predictions))

    def _found(self, path: Path) -> np.ndarray:
        whole = Predictions(path)
        logits = whole.read(whole.output_names[0])
        return logits[np.searchsorted(whole.rows, self.image), self.label] > 0


@pytest.fixture(scope="module")
def again(finished) -> Again:
    return Again(finished)


def test_each_metric_has_its_units_and_each_slice_says_what_is_in_it(again):
    report = again.report
    assert {each.name: each.per for each in report.metrics} == {
        "found_all": "image",
        "spots_found": "object",
    }
    units = {each.name: (each.unit, each.n) for each in report.slices}
    assert units["all"] == ("image", len(again.rows))
    quiet = np.count_nonzero(again.loudness[again.rows] == "quiet")
    assert units["loudness = quiet"] == ("image", quiet)
    assert units["class = b"] == ("object", np.count_nonzero(again.label == 1))
    assert len(units) == len(report.slices)


def test_objects_are_counted_and_compared_one_by_one(again):
    checked = 0
    for result in again.report.results:
        if result.metric != "spots_found":
            continue
        held = np.ones(len(again.label), bool)
        for part in result.slice.split(" & "):
            what, _, value = part.partition(" = ")
            if what == "class":
                held &= again.label == CLASSES.index(value)
            elif what == "loudness":
                held &= again.loudness[again.image] == value
            elif part != "all":
                break
        else:
            checked += 1
            before, after = again.fp32[held], again.found[result.cell][held]
            assert result.n == held.sum()
            assert result.n_clusters == len(np.unique(again.image[held]))
            assert result.reference == pytest.approx(before.mean())
            assert result.candidate == pytest.approx(after.mean())
            assert result.flips.lost == np.count_nonzero(before & ~after)
            assert result.interval in {"tango-clustered", "clopper-pearson"}
    # all, two of loudness, four classes and their crosses, under two engines
    assert checked == 2 * (1 + 2 + 4 + 8)


def test_metrics_of_images_have_no_results_on_slices_of_objects(again):
    by_metric = {
        metric: {r.slice for r in again.report.results if r.metric == metric}
        for metric in ("found_all", "spots_found")
    }
    assert by_metric["found_all"] == {"all", "loudness = loud", "loudness = quiet", "hard"}
    assert by_metric["found_all"] < by_metric["spots_found"]
    assert "object.sure = 1" in by_metric["spots_found"]


def test_planted_harm_is_found_among_objects_of_quiet_images_alone(again):
    crossed = [r for r in again.report.results if r.gate and r.slice.startswith("class")]
    assert len(crossed) == 2 * 8
    for result in crossed:
        if result.slice.endswith("quiet"):
            assert result.low > 0.02
        else:
            assert abs(result.drop) < 0.02
            assert result.verdict == "PASS"
    assert {r.family_size for r in crossed} == {2 * (8 + 2)}


def test_every_form_tells_of_objects_and_images(finished, capsys):
    folder = finished.with_suffix("")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "class = b &amp; loudness = quiet" in page or "class = b & loudness = quiet" in page
    assert "images evaluated" in page
    markdown = (folder / "summary.md").read_text(encoding="utf-8")
    assert "loudness = quiet" in markdown
    assert "Drop of Spots found in points" in markdown
    cases = (folder / "junit.xml").read_text(encoding="utf-8")
    assert "spots_found on class = a &amp; loudness = quiet" in cases
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {each["unit"] for each in document["slices"]} == {"image", "object"}


@pytest.mark.slow
def test_drops_on_slices_of_objects_are_explained_on_tuning_objects(finished, tmp_path):
    shutil.copytree(finished.parent, tmp_path / "own")
    audit = tmp_path / "own" / finished.name
    explained, _ = explain_audit(
        audit, slices=("class = * & loudness = quiet",), cells=("loud only*",)
    )
    found = {each.slice: each for each in explained.explanations}
    one = found["class = a & loudness = quiet"]
    with open_pool(audit.parent / "pool.h5") as pool:
        rows = select_rows("split = 'calibration' and loudness = 'quiet'", pool)
        objects = pool.read_objects("spots", rows)
    assert one.n_tuning == np.count_nonzero(objects.label == 0)
    assert f"{one.n_tuning} tuning objects" in one.sentence


def test_the_first_metric_of_the_task_is_the_headline_whichever_units_it_scores(tmp_path):
    swapped = SPOTS.replace('["found_all", "spots_found"]', '["spots_found", "found_all"]')
    with prepared_audit(make_spots(tmp_path, swapped), Overrides()) as audit:
        assert [each.metrics[0].name for each in audit.eval_sets] == ["spots_found", "found_all"]


def test_units_that_no_metric_scores_are_not_read(tmp_path):
    only = SPOTS.replace('["found_all", "spots_found"]', '["spots_found"]')
    only = only[: only.rindex("[[gates]]")]
    with prepared_audit(make_spots(tmp_path, only), Overrides()) as audit:
        assert [each.unit for each in audit.eval_sets] == ["object"]


def test_a_gate_of_images_on_a_slice_of_objects_is_refused_with_what_fits(tmp_path):
    wrong = SPOTS.replace('slices = "loudness = *"', 'slices = "class = a"')
    path = make_spots(tmp_path, wrong)
    with (
        pytest.raises(SliceError, match="is of objects, and found_all scores images") as error,
        prepared_audit(path, Overrides()),
    ):
        pass
    assert error.value.problems[0].where.endswith("gates[1].slices")
    assert "Gate spots_found there" in error.value.problems[0].next_step


def test_slices_of_objects_need_a_metric_of_objects(tmp_path):
    path = make_spots(tmp_path, SPOTS.replace(', "spots_found"]', "]"))
    with (
        pytest.raises(SliceError, match="slice of objects, and no task's metric") as error,
        prepared_audit(path, Overrides()),
    ):
        pass
    assert [each.where.rpartition(": ")[2] for each in error.value.problems] == [
        "class", "class & loudness", "object.sure",
    ]  # fmt: skip


def test_a_pool_without_objects_says_so(tmp_path):
    path = make_world(tmp_path, audit=SPOTS)
    with (
        pytest.raises(PoolError, match="there are no objects 'spots'"),
        prepared_audit(path, Overrides()),
    ):
        pass
