import json

from calaudit.backends.tensorrt.precision import (
    precision_notices,
    prove,
    read_inspector,
    read_layer_report,
)
from calaudit.graph.model import Model
from calaudit.graph.products import Product, products
from tests.graph import models
from tests.graph.running import quantize

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
