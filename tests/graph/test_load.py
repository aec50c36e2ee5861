from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calaudit.graph.load import load_model
from calaudit.runtime.errors import ModelError
from tests.graph import models


def saved(proto: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    onnx.save(proto, str(path))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert all(problem.next_step for problem in caught.value.problems)
    assert all(problem.where == str(path) for problem in caught.value.problems)
    return str(caught.value)


def test_inputs_and_outputs_are_told_without_onnx_types(tmp_path: Path) -> None:
    model = load_model(saved(models.embedding(), tmp_path))
    assert [(i.name, i.dtype, i.shape) for i in model.inputs] == [
        ("item", np.dtype(np.int64), ()),
        ("x", np.dtype(np.float32), (4,)),
    ]
    assert [(o.name, o.dtype, o.shape) for o in model.outputs] == [
        ("y", np.dtype(np.float32), (10,))
    ]
    assert not model.fixed_batch
    assert model.opset == 17


def test_free_sizes_beside_the_batch_are_none(tmp_path: Path) -> None:
    s = models.Sketch()
    s.conv("x", "y", 2, 3, (3,))
    proto = s.model({"x": ["b", 2, "time"]}, {"y": ["b", 3, "time"]})
    assert load_model(saved(proto, tmp_path)).inputs[0].shape == (2, None)


def test_batch_fixed_to_one_is_accepted(tmp_path: Path) -> None:
    assert load_model(saved(models.conv_bn_relu(batch=1), tmp_path)).fixed_batch


def test_weights_listed_as_inputs_arent_inputs(tmp_path: Path) -> None:
    proto = models.gemms()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    assert [i.name for i in load_model(saved(proto, tmp_path)).inputs] == ["x"]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such model file" in refusal(tmp_path / "absent.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 64, b"import torch\n", b"PK\x03\x04" * 9]
)
def test_a_file_that_isnt_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "isn't an ONNX model" in refusal(path)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = saved(models.conv_bn_relu(), tmp_path)
    path.write_bytes(path.read_bytes()[:-300])
    refusal(path)


def test_an_invalid_graph_is_refused_with_the_reason(tmp_path: Path) -> None:
    proto = models.gemms()
    proto.graph.node[0].input[0] = "nowhere"
    assert "nowhere" in refusal(saved(proto, tmp_path))


def test_an_opset_that_cant_be_converted_and_a_fixed_batch_are_told_at_once(tmp_path: Path) -> None:
    s = models.Sketch()
    s.op("Relu", ["x"], "y")
    message = refusal(saved(s.model({"x": [8, 3]}, {"y": [8, 3]}, opset=6), tmp_path))
    assert "opset 6" in message
    assert "batch fixed to 8" in message


def test_an_input_with_the_batch_behind_another_axis_is_told_how_to_export(tmp_path: Path) -> None:
    s = models.Sketch()
    s.op("Relu", ["x"], "y")
    message = refusal(saved(s.model({"x": [16, "b", 3]}, {"y": [16, "b", 3]}), tmp_path))
    assert "batch fixed to 16" in message
    assert "y = model(x.transpose(0, 1))" in message


def test_an_input_without_batch_axis_is_refused(tmp_path: Path) -> None:
    s = models.Sketch()
    s.op("Relu", ["x"], "y")
    assert "no batch axis" in refusal(saved(s.model({"x": []}, {"y": []}), tmp_path))


def test_text_inputs_are_refused(tmp_path: Path) -> None:
    s = models.Sketch()
    s.op("Identity", ["x"], "y")
    types = {"x": TensorProto.STRING, "y": TensorProto.STRING}
    proto = s.model({"x": ["b"]}, {"y": ["b"]}, types=types)
    assert "isn't a tensor of numbers" in refusal(saved(proto, tmp_path))


def test_a_quantized_model_is_refused_unless_asked_for(tmp_path: Path) -> None:
    s = models.Sketch()
    scale, zero = s.array("s", np.float32(0.1)), s.array("z", np.int8(0))
    s.op("QuantizeLinear", ["x", scale, zero], "q")
    s.op("DequantizeLinear", ["q", scale, zero], "y")
    path = saved(s.model({"x": ["b", 3]}, {"y": ["b", 3]}), tmp_path)
    assert "quantized already (QuantizeLinear node_q" in refusal(path)
    assert load_model(path, quantized=True).inputs[0].name == "x"


@pytest.mark.parametrize(
    ("op_type", "domain"),
    [
        ("QLinearAdd", "com.microsoft"),
        ("QAttention", "com.microsoft"),
        ("QGemm", "com.microsoft"),
        ("MatMulNBits", "com.microsoft"),
        ("DynamicQuantizeMatMul", "com.microsoft"),
        ("MatMulIntegerToFloat", "com.microsoft"),
        ("DequantizeLinear", "com.microsoft"),
        ("QLinearConv", "com.ms.internal.nhwc"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_onnxruntimes_quantized_ops_are_refused_too_wherever_they_are(
    op_type: str, domain: str, inside: bool, tmp_path: Path
) -> None:
    s = models.Sketch()
    node = helper.make_node(op_type, ["x"], ["out"], name="quantized", domain=domain)
    if inside:
        shown = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
        branch = helper.make_graph([node], "branch", [], shown)
        s.op("If", [s.array("flag", np.array(True))], "y", then_branch=branch, else_branch=branch)
    else:
        s.nodes.append(node)
        s.op("Identity", ["out"], "y")
    proto = s.model({"x": ["b"]}, {"y": ["b"]})
    proto.opset_import.append(helper.make_opsetid(domain, 1))
    assert f"quantized already ({op_type} quantized" in refusal(saved(proto, tmp_path))


@pytest.mark.parametrize("op_type", ["QuickGelu", "FusedConv", "Quatsch"])
def test_ops_that_only_sound_alike_arent_taken_for_quantized(op_type: str, tmp_path: Path) -> None:
    s = models.Sketch()
    s.op(op_type, ["x"], "y", domain="com.microsoft")
    proto = s.model({"x": ["b"]}, {"y": ["b"]})
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert load_model(saved(proto, tmp_path)).outputs[0].name == "y"


def test_external_weights_are_read_and_hash_like_inline_ones(tmp_path: Path) -> None:
    proto = models.conv_bn_relu()
    inline = load_model(saved(proto, tmp_path))
    path = tmp_path / "external.onnx"
    onnx.save(
        proto, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    external = load_model(path)
    assert external.fingerprint == inline.fingerprint
    (tmp_path / "weights.bin").unlink()
    assert "weights" in refusal(path)


def test_the_fingerprint_hashes_content_not_provenance(tmp_path: Path) -> None:
    model = load_model(saved(models.gemms(), tmp_path))
    relabelled = models.gemms()
    relabelled.producer_name = "someone"
    relabelled.doc_string = "notes"
    assert load_model(saved(relabelled, tmp_path, "b.onnx")).fingerprint == model.fingerprint
    typed = models.gemms()
    for tensor in typed.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        tensor.float_data.extend(values.ravel().tolist())
    assert load_model(saved(typed, tmp_path, "c.onnx")).fingerprint == model.fingerprint
    changed = models.gemms()
    raw = bytearray(changed.graph.initializer[0].raw_data)
    raw[0] ^= 1
    changed.graph.initializer[0].raw_data = bytes(raw)
    assert load_model(saved(changed, tmp_path, "d.onnx")).fingerprint != model.fingerprint
