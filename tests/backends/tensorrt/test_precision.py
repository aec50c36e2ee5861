import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calaudit.backends.base import NodePrecision, PrecisionProof
from calaudit.backends.tensorrt.precision import (
    asked_implicitly,
    precision_notices,
    prove,
    read_inspector,
    read_layer_report,
    tensors_without_range,
)
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.products import Product, products
from tests.graph import models
from tests.graph.real_models import real_model
from tests.graph.running import quantize

INSPECTED = Path(__file__).parent / "inspected"
"""What TensorRT 8.5.3.1 said of real engines."""

REPORT = """Layers:
Name: shape_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata:\x20
Name: q_1, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [-1,12], Strides: [12,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }], Constants: [ { Name: s, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: q, Dimensions: [-1,12], Strides: [12,1], StrideOrder: [1,0], Datatype: Int8, Format: (Linear) Row major linear format }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: x/Q]\x1f[ONNX Layer: g1]
Name: g1_2, LayerType: gemm, Inputs: [ { Name: q, Dimensions: [-1,12], Strides: [12,1], StrideOrder: [1,0], Datatype: Int8, Format: (Linear) Row major linear format }], Constants: [ { Name: w, Dimensions: [12,20], Strides: [20,1], StrideOrder: [1,0], Datatype: Int8, Format: (Linear) Row major linear format }, { Name: one, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: o, Dimensions: [-1,20], Strides: [20,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: g1]\x1f[ONNX Layer: x/DQ]
Name: g2[0]_3, LayerType: gemm, Inputs: [ { Name: o, Dimensions: [-1,20], Strides: [20,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }], Constants: [ { Name: w2, Dimensions: [20,6], Strides: [6,1], StrideOrder: [1,0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: g2[0]]__gemm_from_conv1x1
"""  # noqa: E501  # as the builder of TensorRT-RTX 1.7.1 writes it

NODES = (
    Product("g1", "Gemm", "int8", ""),
    Product("g2[0]", "Gemm", "int8", ""),
    Product("gone", "Conv", "int8", ""),
    Product("up", "ConvTranspose", "fp32", "TensorRT emulates it"),
)


def test_layer_report_tells_what_each_product_runs_in() -> None:
    proof = prove(NODES, read_layer_report(REPORT), "builder's layer report")
    assert [node.got for node in proof.nodes] == ["int8", "fp32", None, None]
    assert proof.counts("int8") == {"Conv": (1, 0), "Gemm": (2, 1)}
    assert [node.node for node in proof.short_of()] == ["g2[0]", "gone"]
    assert "reads fp32 × fp32" in proof.nodes[1].reason


def test_less_than_asked_is_a_warning_that_names_the_nodes() -> None:
    proof = prove(NODES, read_layer_report(REPORT), "builder's layer report")
    (notice,) = precision_notices(proof, "m.onnx")
    assert notice.code == "precision_short"
    assert "Gemm g2[0] requested int8, got fp32" in notice.message
    whole = prove(NODES[:1], read_layer_report(REPORT), "engine inspector")
    assert precision_notices(whole, "m") == []
    assert [n.code for n in precision_notices(None, "m")] == ["precision_unproven"]


def test_int8_where_float_was_asked_for_is_a_warning_of_its_own() -> None:
    node = NodePrecision("head", "Gemm", "fp32", "int8", "")
    (notice,) = precision_notices(PrecisionProof("engine inspector", (node,)), "m.onnx")
    assert notice.code == "precision_ignored"
    assert notice.message == "1 product runs in INT8 though float was asked for: Gemm head"
    kept = replace(node, got="fp32")
    assert precision_notices(PrecisionProof("engine inspector", (kept,)), "m.onnx") == []


def test_inspectors_of_old_and_new_releases_are_understood() -> None:
    new = {"Name": "g1", "LayerType": "gemm", "Metadata": "[ONNX Layer: g1]",
           "Inputs": [{"Name": "q", "Dimensions": [-1, 12], "Datatype": "Int8"}],
           "Constants": [{"Name": "w", "Dimensions": [12, 20], "Datatype": "Int8"}]}  # fmt: skip
    old = {"Name": "c", "LayerType": "CaskConvolution", "Metadata": "[ONNX Layer: g2[0]]",
           "Inputs": [{"Name": "q", "Dimensions": [1, 3, 8, 8],
                       "Format/Datatype": "Four wide channel vectorized row major Int8 format"}],
           "Weights": {"Type": "Int8", "Count": 432}}  # fmt: skip
    layers = read_inspector(json.dumps({"Layers": [new, old, "a layer without details"]}))
    proof = prove(NODES[:2], layers, "engine inspector")
    assert [node.got for node in proof.nodes] == ["int8", "int8"]


def test_a_product_is_as_wide_as_its_widest_layer() -> None:
    split = REPORT.replace("g2[0]_3", "other").replace("[ONNX Layer: g2[0]]", "[ONNX Layer: g1]")
    proof = prove(NODES[:1], read_layer_report(split), "builder's layer report")
    assert proof.nodes[0].got == "fp32"


def test_graph_says_which_products_it_asks_int8_of() -> None:
    source = Model(models.conv_transpose(), "sketch")
    _, model = quantize(source, models.feeds(source.proto))
    assert [(p.op_type, p.asked) for p in products(model)] == [
        ("Conv", "int8"),
        ("ConvTranspose", "fp32"),
    ]
    assert "emulation" in products(model)[1].reason


def inspected(name: str) -> str:
    return (INSPECTED / f"{name}.json").read_text(encoding="utf-8")


def asked(*named: str, **changes: Any) -> tuple[Product, ...]:
    """Products that are to run in INT8, called ``name_OpType`` as in the graphs."""
    return tuple(
        replace(Product(name, name.rpartition("_")[2], "int8", ""), **changes) for name in named
    )


def proof_of(text: str, nodes: Iterable[Product], **given: Any) -> PrecisionProof:
    return prove(nodes, read_inspector(text), "engine inspector", **given)


def found(text: str, nodes: Iterable[Product], **given: Any) -> dict[str, str | None]:
    return {node.node: node.got for node in proof_of(text, nodes, **given).nodes}


def with_formats(text: str, layer: str, new: str) -> str:
    """An engine's account in which all that one layer reads and makes is of another format."""
    document = json.loads(text)
    (one,) = (each for each in document["Layers"] if each["Name"] == layer)
    for tensor in (*one["Inputs"], *one["Outputs"]):
        tensor["Format/Datatype"] = new
    return json.dumps(document)


def speech() -> tuple[Product, ...]:
    return asked_implicitly(products(load_model(real_model("power"))))


def test_an_engine_of_8_5_is_read_by_its_layers_names() -> None:
    proof = proof_of(inspected("speech_minmax"), speech())
    assert proof.counts("int8") == {"Conv": (27, 27), "Gemm": (1, 0)}
    (gemm,) = proof.short_of()
    assert (gemm.node, gemm.got, gemm.macs) == ("/o/Gemm", "fp32", 960)
    assert "layer /o/Gemm reads fp32 × fp32: an INT8 kernel is missing, or a" in gemm.reason
    first = next(node for node in proof.nodes if node.node == "/f/f.0/Conv")
    assert (first.got, first.reason) == ("int8", ""), "what reformats for it isn't taken for it"


def test_a_format_that_is_swapped_in_one_layer_is_the_loss_of_its_product_alone() -> None:
    text, nodes = inspected("speech_minmax"), speech()
    names = [each["Name"] for each in json.loads(text)["Layers"]]
    before = found(text, nodes)
    for node, got in before.items():
        if got != "int8":
            continue
        (layer,) = (
            name for name in names
            if name.startswith(node) and not name.startswith("PWN")
        )  # fmt: skip
        after = found(with_formats(text, layer, "Row major linear FP32"), nodes)
        assert after == {**before, node: "fp32"}, layer
        after = found(with_formats(text, layer, "Row major linear FP16 format"), nodes)
        assert after[node] == "fp16"


def test_weights_alone_prove_nothing() -> None:
    text, nodes = inspected("ranking_minmax"), asked("/e/Gemm", "/f/f.1/Gemm", op_type="Gemm")
    assert found(text, nodes) == {"/e/Gemm": "int8", "/f/f.1/Gemm": "int8"}
    layer = "/e/Gemm + PWN(/f/f.0/Tanh)"
    unknown = with_formats(text, layer, "N/A due to dynamic shapes")
    assert '"Type": "Int8"' in unknown
    proof = proof_of(unknown, nodes)
    assert [node.got for node in proof.nodes] == [None, "int8"]
    assert "doesn't tell what its CaskConvolution layer /e/Gemm + PWN" in proof.nodes[0].reason
    assert [node.node for node in proof.short_of()] == ["/e/Gemm"]


def test_int8_that_ends_in_float_is_int8() -> None:
    """The last Gemm multiplies int8 by int8, and hands on FP32."""
    last = json.loads(inspected("ranking_minmax"))["Layers"][-2]
    assert last["Name"] == "/f/f.1/Gemm"
    assert last["Outputs"][0]["Format/Datatype"] == "Row major linear FP32"
    assert found(inspected("ranking_minmax"), asked("/f/f.1/Gemm")) == {"/f/f.1/Gemm": "int8"}


def test_products_that_run_side_by_side_and_of_two_activations_are_found() -> None:
    nodes = asked(*(f"n{i}_MatMul" for i in (0, 4, 7, 10, 13, 16)))
    proof = proof_of(inspected("attention"), nodes)
    assert [node.got for node in proof.nodes] == ["fp32"] * 6
    assert "n0_MatMul || n4_MatMul || n7_MatMul reads" in proof.nodes[1].reason
    assert "n10_MatMul reads fp32 × fp32" in proof.nodes[3].reason
    assert found(inspected("residual"), asked("n0_Conv", "n2_Conv", "n7_Gemm")) == dict.fromkeys(
        ("n0_Conv", "n2_Conv", "n7_Gemm"), "fp32"
    )
    assert found(inspected("conv_transpose"), asked("n1_ConvTranspose")) == {
        "n1_ConvTranspose": "fp32"
    }


def test_a_product_without_a_range_is_told_by_the_tensor() -> None:
    warnings = [
        "Missing scale and zero-point for tensor p, expect fall back to non-int8 implementation "
        "for any layer consuming or producing given tensor",
        "Missing scale and zero-point for tensor (Unnamed Layer* 19) [Constant]_output, expect "
        "fall back to non-int8 implementation for any layer consuming or producing given tensor",
        "Using kFASTER_DYNAMIC_SHAPES_0805 preview feature.",
    ]
    bare = tensors_without_range(warnings)
    assert bare == {"p", "(Unnamed Layer* 19) [Constant]_output"}
    nodes = asked("n13_MatMul", tensors=("p", "v", "o0"))
    nodes += asked("n16_MatMul", tensors=("o2", "o3"))
    by_range, by_time = proof_of(inspected("attention"), nodes, without_range=bare).nodes
    assert by_range.reason.startswith("TensorRT has no range for p; ")
    assert "an INT8 kernel is missing, or a float one timed faster" in by_time.reason


def test_groups_are_told_where_nothing_else_is_known() -> None:
    (depthwise,) = asked("n0_Conv", groups=16)
    (node,) = proof_of(inspected("residual"), [depthwise]).nodes
    assert node.reason.startswith("in 16 groups; TensorRT's CaskConvolution layer n0_Conv + n1")


def account(*layers: Mapping[str, Any]) -> str:
    return json.dumps({"Layers": list(layers)})


def layer(name: str, kind: str, datatype: str, made: str = "made", **more: Any) -> dict[str, Any]:
    tensor = {"Dimensions": [1, 8, 4, 4], "Format/Datatype": datatype}
    inputs, outputs = [{"Name": "in", **tensor}], [{"Name": made, **tensor}]
    return {"Name": name, "LayerType": kind, "Inputs": inputs, "Outputs": outputs, **more}


INT8 = {"Weights": {"Type": "Int8", "Count": 64}}
BLOCK = "Thirty-two wide channel vectorized row major Int8 format"


def test_explicit_quantization_names_weights_and_pairs_with_the_product() -> None:
    text = account(
        layer("x_quantized/Q", "Reformat", BLOCK),
        layer("w_dequantized/DQ + /c/Conv + PWN(/a/HardSwish)", "CaskConvolution", BLOCK, **INT8),
        layer("/c/Conv_1", "CaskConvolution", "Row major linear FP32"),
    )
    assert found(text, asked("/c/Conv")) == {"/c/Conv": "int8"}
    assert found(text, asked("/c/Conv", "/c/Conv_1"))["/c/Conv_1"] == "fp32"


def test_what_myelin_compiled_is_unknown() -> None:
    foreign = layer("{ForeignNode[/a/MatMul...(Unnamed Layer* 40) [Shuffle]]}", "Myelin", BLOCK)
    proof = proof_of(account(foreign), asked("/a/MatMul", "/b/MatMul"))
    assert [node.got for node in proof.nodes] == [None, None]
    assert "doesn't tell what its Myelin layer {ForeignNode[/a/MatMul" in proof.nodes[0].reason
    assert "such as {ForeignNode[/a/MatMul" in proof.nodes[1].reason


def test_a_layer_that_only_hands_on_proves_nothing() -> None:
    for kind in ("Reformat", "NoOp", "Shuffle", "Constant"):
        text = account(layer("/c/Conv + /b/Relu", kind, BLOCK, **INT8))
        assert found(text, asked("/c/Conv")) == {"/c/Conv": None}, kind


def test_nodes_without_a_name_are_found_by_what_they_make_or_their_order() -> None:
    unnamed = [
        Product(name, "Conv", "int8", "", tensors=(before, name))
        for before, name in (("x", "c1"), ("r1", "c2"))
    ]
    text = account(
        layer("(Unnamed Layer* 2) [Convolution] + (Unnamed Layer* 3) [Activation]",
              "CaskConvolution", "Row major linear FP32", "r2"),
        layer("(Unnamed Layer* 0) [Convolution] + (Unnamed Layer* 1) [Activation]",
              "CaskConvolution", BLOCK, "r1", **INT8),
    )  # fmt: skip
    assert found(text, unnamed) == {"c1": "int8", "c2": "fp32"}
    assert found(text, unnamed[:1]) == {"c1": None}, "of two layers, which is it?"
    by_tensor = account(layer("conv of its own name", "CaskConvolution", BLOCK, "c1", **INT8))
    assert found(by_tensor, unnamed[:1]) == {"c1": "int8"}


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "{}", '{"Layers": {}}', '{"Layers": ["a name", 3, null]}',
     '{"Layers": [{"Name": "\\"}'],
)  # fmt: skip
def test_an_account_that_tells_nothing_is_none(text: str) -> None:
    assert read_inspector(text) == ()


def test_control_characters_are_taken_as_they_come() -> None:
    metadata = "[ONNX Layer: a]\x1f[ONNX Layer: b]"
    text = account(layer("one", "gemm", "Int8", Metadata=metadata, **INT8))
    raw = text.replace("\\u001f", "\x1f")
    assert raw != text
    assert found(raw, asked("a", "b", op_type="Gemm")) == {"a": "int8", "b": "int8"}


@pytest.mark.parametrize(
    ("described", "got"),
    [
        ("Format/Datatype: Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Format/Datatype: Channel major FP32 format where channel % 4 == 0", "fp32"),
        ("Format/Datatype: N/A due to dynamic shapes", None),
    ],
)
def test_layer_reports_may_describe_formats_as_the_inspector_does(
    described: str, got: str | None
) -> None:
    swapped = re.sub("Datatype: Int8, Format: [^}]*format", lambda _: described, REPORT)
    assert described in swapped
    proof = prove(NODES[:1], read_layer_report(swapped), "builder's layer report")
    assert proof.nodes[0].got == got


@pytest.mark.parametrize("kind", ["Float", "Half", "BFloat16"])
def test_types_swapped_in_a_layer_report_change_what_is_proven(kind: str) -> None:
    got = {"Float": "fp32", "Half": "fp16", "BFloat16": "bf16"}[kind]
    for operand in (r"Name: q,[^}]*?Datatype: Int8(?=[^}]*\}\], Constants)",
                    r"Name: w,[^}]*?Datatype: Int8"):  # fmt: skip
        swapped, n = re.subn(operand, lambda m: m[0].replace("Int8", kind), REPORT)
        assert n
        proof = prove(NODES[:1], read_layer_report(swapped), "builder's layer report")
        assert proof.nodes[0].got == got
        assert proof.nodes[0].reason
