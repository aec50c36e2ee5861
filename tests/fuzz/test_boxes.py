"""Whatever stands in annotations of boxes, it is understood or refused with a next step."""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.formats.importers.annotated_settings import AnnotatedSettings
from calaudit.formats.importers.coco import read_coco
from calaudit.formats.importers.yolo import read_yolo
from calaudit.formats.importers.yolo_labels import read_labels
from calaudit.runtime.errors import Problem
from tests.formats.boxes import coco, write_coco, write_yolo
from tests.fuzz.mutations import EDITS, VALUES, edited, fuzzed
from tests.fuzz.test_texts import refused_or

HOW = AnnotatedSettings()


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_coco(folder / "coco")
    write_yolo(folder / "yolo")
    return folder


def refused_or_sound(read: Any, source: Path) -> None:
    """Read annotations; those that aren't refused can be used."""
    found = refused_or(lambda: read(source, HOW))
    for image in found.images if found is not None else ():
        assert np.isfinite(image.boxes.corners).all()
        assert set(image.boxes.label.tolist()) <= set(range(len(found.classes)))


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """COCO's annotations, a few of whose values are others."""
    content = coco()
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(["images", "annotations", "categories"]))
        entry = draw(st.sampled_from(content[part]))
        key = draw(st.sampled_from([*entry, "attributes", "extra"]))
        entry[key] = draw(VALUES)
    return json.dumps(content).encode("utf-8", "replace")


@fuzzed(80)
@given(content=st.one_of(changed(), EDITS.map(lambda e: edited(json.dumps(coco()).encode(), e))))
def test_coco(sets: Path, content: bytes) -> None:
    source = sets / "coco" / "changed.json"
    source.write_bytes(content)
    refused_or_sound(read_coco, source)


@st.composite
def data(draw: st.DrawFn) -> bytes:
    """A data.yaml with other values."""
    content: dict[str, Any] = {"train": "images/train", "val": "images/val", "names": ["a", "b"]}
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from([*content, "path", "nc", "test", "kpt_shape"]))
        content[key] = draw(VALUES)
    return json.dumps(content).encode("utf-8", "replace")  # YAML reads JSON


DATA = b"path: .\ntrain: images/train\nval: [images/val]\nnames: {0: red, 1: white, 2: tiny}\n"


@fuzzed(80)
@given(content=st.one_of(data(), EDITS.map(lambda edits: edited(DATA, edits))))
def test_data_yaml(sets: Path, content: bytes) -> None:
    source = sets / "yolo" / "changed.yaml"
    source.write_bytes(content)
    refused_or_sound(read_yolo, source)


LABELS = b"0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.3 0.4 0.5 0.6\n2 0.25 0.75 0.5 0.5\n"


@fuzzed(80)
@given(EDITS, st.booleans())
def test_label_files(edits: list[Any], keypoints: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(edited(LABELS, edits))
        problems: list[Problem] = []
        boxes = read_labels(path, 3, problems, Counter(), keypoints=keypoints)
    assert np.isfinite(boxes.corners).all()
    assert (boxes.corners[:, :2] <= boxes.corners[:, 2:]).all()
    assert set(boxes.label.tolist()) <= {0, 1, 2}
