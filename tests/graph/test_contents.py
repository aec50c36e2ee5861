"""Weights beside a model are read from there, and mean what they would inside of it."""

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.graph.contents import bytes_of, is_beside, size_of, values_of
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model, write_model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.taps import with_taps
from calaudit.runtime.errors import ModelError
from tests.graph.models import Sketch
from tests.graph.running import minmax_scales, run

WIDE = 700  # 700 · 700 float32 are more than 1 MiB


def wide() -> onnx.ModelProto:
    """Two large layers and a small one."""
    s = Sketch()
    s.op("Relu", [s.gemm("x", "g", WIDE, WIDE)], "r")
    s.op("MatMul", ["r", s.weight("w", WIDE, WIDE)], "h")
    s.op("MatMul", ["h", s.weight("small", WIDE, 3)], "y")
    return s.model({"x": ["b", WIDE]}, {"y": ["b", 3]})


def beside(proto: onnx.ModelProto, folder: Path, **options: object) -> Path:
    """`proto` saved by onnx itself with its weights in files beside it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    path = folder / "model.onnx"
    settings = {"location": "model.data", **options}
    onnx.save(copy, str(path), save_as_external_data=True, size_threshold=0, **settings)
    return path


def feeds() -> dict[str, NDArray[np.float32]]:
    x = np.random.default_rng(0).standard_normal((5, WIDE)).astype(np.float32)
    return {"x": x}


@pytest.mark.parametrize("one_file", [True, False])
def test_it_makes_no_difference_where_weights_lie(tmp_path: Path, one_file: bool) -> None:
    inside = Model(wide(), "m")
    path = beside(
        inside.proto, tmp_path, all_tensors_to_one_file=one_file,
        **({} if one_file else {"location": None}),
    )  # fmt: skip
    loaded = load_model(path)
    assert sum(map(is_beside, loaded.proto.graph.initializer)) == 2
    assert loaded.fingerprint == inside.fingerprint
    assert load_model(path).serialize() == loaded.serialize()
    assert abs(loaded.n_bytes - inside.proto.ByteSize()) < 1000

    def answers(model: Model) -> list[NDArray[np.float32]]:
        ready = prepare(model)
        plan = plan_qdq(ready)
        taps = run(with_taps(ready, plan.taps), feeds())
        quantized = apply_qdq(ready, plan, minmax_scales(ready, plan, feeds()))
        halved, _ = convert_to_fp16(ready)
        every = [run(each, feeds())["y"] for each in (model, ready, quantized, halved)]
        return [*taps.values(), *every]

    for one, other in zip(answers(inside), answers(loaded), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_that_is_written_again_keeps_its_weights(tmp_path: Path) -> None:
    loaded = load_model(beside(wide(), tmp_path))
    out = tmp_path / "again"
    out.mkdir()
    write_model(loaded, out / "m.onnx", out / "m.weights", location="m.weights")
    (tmp_path / "model.data").unlink()
    again = load_model(out / "m.onnx")
    assert again.fingerprint == Model(wide(), "m").fingerprint


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_half_precision_weights_beside_a_model_are_widened(tmp_path: Path, kind: int) -> None:
    proto = wide()
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = kind
    inside, loaded = Model(proto, "m"), load_model(beside(proto, tmp_path))
    assert loaded.fingerprint == inside.fingerprint
    given = {"x": feeds()["x"].astype(dtype)}
    if kind == TensorProto.FLOAT16:
        one, other = (run(prepare(each), given)["y"] for each in (inside, loaded))
        np.testing.assert_array_equal(one, other)
    assert prepare(inside).fingerprint == prepare(loaded).fingerprint


@pytest.mark.parametrize(
    "dtype",  # 1.5 million values: a MiB and more of each
    [np.float32, np.float16, np.float64, np.int8, np.int64, np.bool_, ml_dtypes.bfloat16],
)
def test_values_bytes_and_size_are_those_of_the_tensor(tmp_path: Path, dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 2, (3, 500_000)).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b"])],
        [helper.make_tensor_value_info("y", kind, [3, 500_000])],
        [numpy_helper.from_array(values, "w")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (inside,) = proto.graph.initializer
    (tensor,) = load_model(beside(proto, tmp_path)).proto.graph.initializer
    assert is_beside(tensor)
    np.testing.assert_array_equal(values_of(tensor), values)
    assert bytes(bytes_of(tensor)) == bytes_of(inside) == values.tobytes()
    assert 0 <= size_of(tensor) - inside.ByteSize() < 100
    assert size_of(tensor) == size_of(inside)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def replace(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.mark.parametrize("change", [cut, replace, Path.unlink])
def test_weights_that_change_while_a_model_is_used_are_not_taken_for_its_own(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    loaded = load_model(beside(wide(), tmp_path))
    change(tmp_path / "model.data")
    for use in (
        lambda: loaded.fingerprint,
        lambda: plan_qdq(loaded),
        lambda: OnnxruntimeBackend().load(loaded),
        lambda: write_model(loaded, tmp_path / "o", tmp_path / "w", location="w"),
    ):
        with pytest.raises(ModelError, match=r"model\.data") as caught:
            use()
        assert caught.value.problems[0].next_step


@pytest.mark.parametrize("change", [cut, Path.unlink])
def test_weights_that_are_missing_or_too_short_are_refused(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = beside(wide(), tmp_path)
    change(tmp_path / "model.data")
    with pytest.raises(ModelError, match="isn't valid"):
        load_model(path)


def test_weights_outside_of_the_models_folder_are_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = beside(wide(), inner)
    (inner / "model.data").rename(tmp_path / "model.data")
    proto = onnx.load(str(path), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../model.data" if entry.key == "location" else entry.value
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="isn't valid"):
        load_model(path)


@pytest.mark.parametrize("old", ["opset", "ir_version"])
def test_old_models_are_brought_up_to_date_with_their_weights_beside_them(
    tmp_path: Path, old: str
) -> None:
    s = Sketch()
    s.op("Relu", [s.gemm("x", "g", WIDE, WIDE)], "r")
    s.op("MatMul", ["r", s.weight("w", WIDE, WIDE)], "h")
    s.op("Squeeze", [s.op("Unsqueeze", ["h"], "u", axes=[1])], "y", axes=[1])
    proto = s.model({"x": ["b", WIDE]}, {"y": ["b", WIDE]}, opset=11)
    if old == "ir_version":
        proto.ir_version = 3
        for tensor in proto.graph.initializer:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            proto.graph.input.append(info)
    loaded = load_model(beside(proto, tmp_path))
    assert sum(map(is_beside, loaded.proto.graph.initializer)) == 2
    assert [each.name for each in loaded.inputs] == ["x"]
    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    x = feeds()["x"]
    hidden = np.maximum(x @ weights["g.w"].T + weights["g.b"], 0) @ weights["w"]
    np.testing.assert_allclose(run(prepare(loaded), feeds())["y"], hidden, rtol=1e-3, atol=1e-3)
