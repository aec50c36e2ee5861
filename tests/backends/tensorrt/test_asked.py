from typing import Any

import pytest

from calaudit.backends.tensorrt.asked import asked_tensors, complete_table
from calaudit.calibration.scales import ScaleTable, TapScale, scale_of
from calaudit.runtime.errors import BackendError

SWISH = "(Unnamed Layer* {}) [Activation]_output"
WEIGHT = "(Unnamed Layer* {}) [Constant]_output"
MOVED = "(Unnamed Layer* {}) [Shuffle]_output"


def table(**amaxes: float) -> ScaleTable:
    return of(amaxes)


def of(amaxes: dict[str, float]) -> ScaleTable:
    taps = {name: TapScale(amax, scale_of(amax)) for name, amax in amaxes.items()}
    return ScaleTable(taps, "entropy", "some")


def layer(kind: str, name: str, *inputs: str, **more: Any) -> dict[str, Any]:
    shape, dtype = more.pop("shape", [-1, 4]), more.pop("dtype", "FLOAT")
    output = {"name": name, "dtype": dtype, "shape": shape}
    return {"type": kind, "inputs": list(inputs), "outputs": [output], **more}


def completed(given: ScaleTable, *layers: dict[str, Any]) -> tuple[dict[str, float], list[str]]:
    made, notices = complete_table(given, ["x"], list(asked_tensors(layers)), where="m.onnx")
    return {name: tap.amax for name, tap in made.taps.items()}, [each.code for each in notices]


def test_other_numbers_are_told_by_the_model_tensors_before_them() -> None:
    given = of({"x": 1, SWISH.format(0): 2, "h": 3, SWISH.format(2): 4, "y": 5})
    found, told = completed(
        given,
        layer("ACTIVATION", SWISH.format(0), "x"),
        layer("ELEMENTWISE", "h", "x"),
        layer("SHAPE", "(Unnamed Layer* 2) [Shape]_output", "h", dtype="INT32"),
        layer("ACTIVATION", SWISH.format(3), "h"),
        layer("ELEMENTWISE", "y", "h"),
    )
    assert found == {"x": 1, "h": 3, "y": 5, SWISH.format(0): 2, SWISH.format(3): 4}
    assert told == []


def test_one_more_layer_of_a_kind_gets_no_range_by_chance() -> None:
    given = of({"x": 1, MOVED.format(1): 2, "y": 5})
    layers = [
        layer("SHUFFLE", MOVED.format(0), "x"),
        layer("CONSTANT", WEIGHT.format(1), amax=0.5, shape=[4]),
        layer("SHUFFLE", MOVED.format(2), WEIGHT.format(1)),
        layer("ELEMENTWISE", "y", MOVED.format(0), MOVED.format(2)),
    ]
    found, told = completed(given, *layers)
    assert found[MOVED.format(0)] == found["x"] == 1
    assert found[MOVED.format(2)] == found[WEIGHT.format(1)] == 0.5
    assert told == ["constant_ranges"]


def test_numbers_integers_and_loops_need_no_range() -> None:
    found, told = completed(
        table(x=1, y=2),
        layer("CONSTANT", WEIGHT.format(0), amax=2.0, shape=[]),
        layer("SHAPE", "sizes", "x", dtype="INT32"),
        {"type": "TRIP_LIMIT", "inputs": ["n"], "outputs": []},
        layer("ITERATOR", "(Unnamed Layer* 3) [Iterator]_output", "x"),
        layer("LOOP_OUTPUT", "y", "x"),
    )
    assert (found, told) == ({"x": 1, "y": 2}, [])


def test_what_is_computed_of_constants_alone_may_lack_a_range() -> None:
    summed = "(Unnamed Layer* 1) [Reduce]_output"
    layers = [
        layer("CONSTANT", WEIGHT.format(0), amax=0.0, shape=[2, 4]),
        layer("REDUCE", summed, WEIGHT.format(0), shape=[4]),
        layer("ELEMENTWISE", "y", "x", summed),
    ]
    found, told = completed(table(x=1, y=2), *layers)
    assert (found, told) == ({"x": 1, "y": 2, WEIGHT.format(0): 1}, ["constant_ranges"])
    layers.insert(2, layer("ELEMENTWISE", "z", "x", summed))
    with pytest.raises(BackendError, match="in float: z\n"):
        completed(table(x=1, y=2), *layers)


def test_what_nobody_has_a_range_of_is_refused_by_name() -> None:
    layers = [
        layer("CONVOLUTION", "c", "x"),
        layer("ACTIVATION", SWISH.format(1), "c"),
        layer("ELEMENTWISE", "y", "c"),
    ]
    with pytest.raises(BackendError) as caught:
        completed(table(x=1, y=2), *layers)
    (problem,) = caught.value.problems
    assert problem.message.startswith("no range for 2 tensors that TensorRT asks for")
    assert problem.message.endswith(f"in float: c, {SWISH.format(1)}")
    assert (problem.where, "calaudit cache write" in str(problem.next_step)) == ("m.onnx", True)
