import numpy as np
import pytest

from calaudit.graph.model import Model
from calaudit.graph.taps import tapped, with_taps
from calaudit.runtime.errors import ModelError
from tests.graph import models
from tests.graph.running import run


def test_taps_come_after_the_models_own_outputs() -> None:
    model = Model(models.conv_bn_relu(), "sketch")
    feeds = models.feeds(model.proto, n=3)
    seen = run(with_taps(model, ["x", "p1", "y"]), feeds)
    assert list(seen) == ["y", "x", "p1"]
    np.testing.assert_array_equal(seen["x"], feeds["x"])
    assert seen["p1"].shape == (3, 8, 4, 4)
    np.testing.assert_array_equal(seen["y"], run(model, feeds)["y"])


def test_the_source_model_is_left_alone() -> None:
    model = Model(models.gemms(), "sketch")
    with_taps(model, ["t"])
    assert [output.name for output in model.outputs] == ["y"]


def test_unknown_taps_are_refused_at_once_with_near_names() -> None:
    model = Model(models.conv_bn_relu(), "sketch")
    with pytest.raises(ModelError, match="no tensor 'flatt'") as caught:
        with_taps(model, ["flatt", "r1", "qqqqqq"])
    assert len(caught.value.problems) == 2
    assert "flat" in str(caught.value.problems[0].next_step) + str(
        caught.value.problems[1].next_step
    )


def test_a_tapped_model_shows_what_with_taps_shows_and_is_whole_again_afterwards() -> None:
    model = Model(models.conv_bn_relu(), "sketch")
    before = model.fingerprint
    wanted = with_taps(model, ["x", "p1", "y"]).proto.SerializeToString()
    with tapped(model, ["x", "p1", "y"]) as shown:
        assert shown.proto.SerializeToString() == wanted
    assert Model(model.proto, "sketch").fingerprint == before
    with pytest.raises(ModelError, match="no tensor"), tapped(model, ["flatt"]):
        pass
    assert Model(model.proto, "sketch").fingerprint == before
