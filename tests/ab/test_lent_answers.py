"""Samples that nobody asks for, such as a gallery's: no difference between arms comes of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from calaudit.report.ab.files import read_ab
from calaudit.results.ab import AbRecord
from tests.ab.serving import Behaviour, http_server
from tests.audit.world import AUDIT, N_CLASSES, N_FEATURES, make_world
from tests.cli.running import calaudit

RETRIEVAL = """
[[tasks]]
kind = "retrieval"
output = "y"
gallery = "{gallery}"
metrics = ["recall@5", "ndcg@10"]
"""
METADATA = {
    "name": "sum",
    "versions": ["1"],
    "platform": "onnxruntime",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, N_FEATURES]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, N_CLASSES]}],
}
TRAFFIC = ("--poisson", 400, "--n", 300, "--shadow")


APART = "split = 'evaluation' and margin >= 1.5"


def finished(folder: Path, gallery: str) -> Path:
    """A small world whose gallery is given, and of which `APART` isn't evaluated."""
    here = "split = 'evaluation'"
    audit = AUDIT.replace(here, f"{here} and margin < 1.5") + RETRIEVAL.format(gallery=gallery)
    path = make_world(folder, n=900, audit=audit)
    assert calaudit("compare", path, "--formats", "none").status == 1
    return path


@contextmanager
def served(model: Path) -> Iterator[str]:
    """A server whose answers are the model's, to the bit."""
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    def compute(x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return {"y": session.run(["y"], {"x": x})[0]}

    with http_server(Behaviour(metadata=dict(METADATA), compute=compute)) as address:
        yield f"{address}/sum"


def replayed(audit: Path, out: Path) -> AbRecord:
    with served(audit.parent / "model.onnx") as address:
        ended = calaudit("ab", audit, "--arm", "fp32", "--arm", address, *TRAFFIC, "--out", out)
    assert ended.status in {0, 3}, ended.err
    return read_ab(out / "ab.json")


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("apart"), APART)


def test_a_server_with_the_controls_answers_is_like_it_in_a_gallery_too(
    apart: Path, tmp_path: Path
) -> None:
    record = replayed(apart, tmp_path)
    same = {each.metric: each.value for each in record.same_answers}
    assert same[None] == 1.0
    assert same["overlap@10"] == 1.0
    found = [one for one in record.results if one.metric in {"recall@5", "ndcg@10"}]
    assert {one.slice for one in found} >= {"all", "loudness = quiet", "loudness = loud"}
    assert {one.drop for one in found} == {0.0}
    (told,) = (each for each in record.warnings if each.code == "lent_answers")
    assert told.message.startswith("recall@5, ndcg@10: the gallery is fp32's for both arms")


def test_engines_of_the_audit_are_judged_with_galleries_of_their_own(
    apart: Path, tmp_path: Path
) -> None:
    arms = ("--arm", "fp32", "--arm", "loud only/minmax")
    assert calaudit("ab", apart, *arms, *TRAFFIC, "--out", tmp_path).status == 1
    record = read_ab(tmp_path / "ab.json")
    same = {each.metric: each.value for each in record.same_answers}
    assert (same["overlap@10"] or 1) < 0.95
    assert not [each for each in record.warnings if each.code == "lent_answers"]


@pytest.mark.slow
def test_a_gallery_that_may_be_asked_for_is_never_put_together_of_two_engines_answers(
    tmp_path: Path,
) -> None:
    audit = finished(tmp_path / "world", "split = 'evaluation'")
    record = replayed(audit, tmp_path / "out")
    assert not [one for one in record.results if one.metric in {"recall@5", "ndcg@10"}]
    assert "overlap@10" not in {each.metric for each in record.same_answers}
    (told,) = (each for each in record.warnings if each.code == "lent_answers")
    assert "the arms aren't compared by it" in told.message
