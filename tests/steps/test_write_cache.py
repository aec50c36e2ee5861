from pathlib import Path

import numpy as np
import pytest

from calaudit.formats.trt_header import TrtVersion
from calaudit.graph.load import load_model
from calaudit.graph.network import import_network
from calaudit.steps.write_cache import write_complete_cache
from tests.graph.models import Sketch
from tests.steps.calibrating import draw, images, write_images, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    s = Sketch()
    s.op("HardSwish", [s.conv("x", "c", 3, 4)], "h")
    s.op("Mul", ["h", s.array("w", np.full((1, 4, 1, 1), 2, np.float32))], "y")
    return write_model(tmp_path / "m.onnx", s.model({"x": ("n", 3, 8, 8)}, {"y": ("n", 4, 8, 8)}))


@pytest.fixture
def calibset(tmp_path: Path) -> Path:
    return draw(write_images(tmp_path / "pool.h5", images(20)), tmp_path / "s.h5", "s", 9).path


def test_another_releases_numbers_are_said_to_be_unsure(
    model: Path, calibset: Path, tmp_path: Path
) -> None:
    def told(version: TrtVersion) -> dict[str, str]:
        made = write_complete_cache(
            model, [calibset], tmp_path / "c.cache", method="minmax", version=version
        )
        assert list(made.cache.scales) == list(made.table.taps) == list(made.network.names)
        return {each.code: each.message for each in made.notices}

    assert told(TrtVersion(8, 5, 3)) == {}
    found = told(TrtVersion(10, 3, 0))
    assert list(found) == ["numbered_as_seen"]
    assert found["numbered_as_seen"].startswith(
        "2 tensors that TensorRT's parser adds are called as 8.5's calls them, such as (Unnamed "
        "Layer* 1) [Activation]_output: 10.3.0 may"
    )


def test_nothing_is_said_of_constants(model: Path, calibset: Path, tmp_path: Path) -> None:
    network = import_network(load_model(model))
    assert network.fixed == ("(Unnamed Layer* 3) [Constant]_output",)
    made = write_complete_cache(
        model, [calibset], tmp_path / "c.cache", method="mse", version=TrtVersion(8, 5, 3)
    )
    assert not any("Constant" in str(each.where) for each in made.notices)
