"""Graphs in training mode are refused, those for inference are read."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calaudit.graph.load import load_model
from calaudit.graph.survey import closing_op
from calaudit.runtime.errors import ModelError


def saved(folder: Path, nodes: list[onnx.NodeProto], *, opset: int = 17, **weights: object) -> Path:
    """X (n, 3) → nodes → y (n, 3)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in weights.items()],
    )
    path = folder / "model.onnx"
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


NORM = {name: np.ones(3, np.float32) for name in ("scale", "bias", "mean", "var")}


def norm(outputs: list[str], **attributes: int) -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", ["x", *NORM], outputs, name="bn", **attributes)


def dropout(inputs: list[str]) -> onnx.NodeProto:
    return helper.make_node("Dropout", inputs, ["y"], name="drop")


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    return str(caught.value)


def test_batch_normalization_in_training_mode_is_refused_with_the_way_out(tmp_path: Path) -> None:
    told = refused(saved(tmp_path, [norm(["y", "m", "v"], training_mode=1)], **NORM))
    assert "was exported in training mode (BatchNormalization bn)" in told
    assert "→ Call model.eval() and export it again" in told


def test_batch_normalization_of_old_opsets_trains_where_it_has_further_outputs(
    tmp_path: Path,
) -> None:
    assert "training mode" in refused(saved(tmp_path, [norm(["y", *"abcd"])], opset=13, **NORM))


def test_batch_normalization_for_inference_is_read(tmp_path: Path) -> None:
    load_model(saved(tmp_path, [norm(["y"])], **NORM))
    load_model(saved(tmp_path, [norm(["y"], training_mode=0)], **NORM))


@pytest.mark.parametrize(
    ("inputs", "mode", "ratio", "trains"),
    [
        (["x", "ratio", "mode"], True, 0.5, True),
        (["x", "", "mode"], True, 0.5, True),
        (["x", "ratio", "mode"], True, 0.0, False),
        (["x", "ratio", "mode"], False, 0.5, False),
        (["x", "ratio"], False, 0.5, False),
        (["x"], False, 0.5, False),
    ],
)
def test_dropout_trains_where_its_mode_says_so_and_it_drops_anything(
    inputs: list[str], mode: bool, ratio: float, trains: bool, tmp_path: Path
) -> None:
    weights = {"ratio": np.float32(ratio), "mode": np.bool_(mode)}
    used = {name: each for name, each in weights.items() if name in inputs}
    path = saved(tmp_path, [dropout(inputs)], **used)
    if trains:
        assert "(Dropout drop)" in refused(path)
    else:
        load_model(path)


def test_a_mode_in_a_constant_node_is_seen(tmp_path: Path) -> None:
    mode = numpy_helper.from_array(np.bool_(True), "value")
    constant = helper.make_node("Constant", [], ["mode"], value=mode)
    assert "training mode" in refused(saved(tmp_path, [constant, dropout(["x", "", "mode"])]))


def test_training_inside_a_branch_is_seen(tmp_path: Path) -> None:
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inner = helper.make_graph([dropout(["x", "", "mode"])], "inner", [], [output])
    node = helper.make_node("If", ["which"], ["y"], then_branch=inner, else_branch=inner)
    weights = {"which": np.bool_(True), "mode": np.bool_(True)}
    assert "training mode" in refused(saved(tmp_path, [node], **weights))


def test_random_ops_are_noted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], name="sample"),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    (notice,) = load_model(saved(tmp_path, nodes)).notices
    assert notice.code == "random_ops"
    assert "RandomNormalLike sample" in notice.message


@pytest.mark.parametrize(
    ("ops", "closing"),
    [
        (["Softmax"], "Softmax"),
        (["Sigmoid", "Identity", "Flatten"], "Sigmoid"),
        (["Softmax", "Log"], "Log"),
        (["Identity"], None),
    ],
)
def test_the_closing_op_is_what_computes_an_outputs_values(
    ops: list[str], closing: str | None, tmp_path: Path
) -> None:
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    nodes = [
        helper.make_node(op, [before], [after])
        for op, before, after in zip(ops, names[:-1], names[1:], strict=True)
    ]
    assert closing_op(load_model(saved(tmp_path, nodes)), "y") == closing
