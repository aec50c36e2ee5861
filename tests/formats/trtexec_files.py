"""Files in the layouts of trtexec, as its releases write them."""

import json
from collections.abc import Sequence
from pathlib import Path

TIMES = """[
  { "startEnqMs" : 0.1, "endEnqMs" : 0.2, "startH2dMs" : 201, "endH2dMs" : 201.5, \
"startComputeMs" : 201.5, "endComputeMs" : 205.5, "startD2hMs" : 205.5, "endD2hMs" : 206, \
"h2dMs" : 0.5, "computeMs" : 4, "d2hMs" : 0.5, "latencyMs" : 5 }
, { "startEnqMs" : 5.1, "endEnqMs" : 5.2, "startH2dMs" : 206, "endH2dMs" : 206.5, \
"startComputeMs" : 206.5, "endComputeMs" : 212.5, "startD2hMs" : 212.5, "endD2hMs" : 213, \
"h2dMs" : 0.5, "computeMs" : 6, "d2hMs" : 0.5, "latencyMs" : 7 }
]
"""
"""Of 8.6 and later."""
PROFILE = """[
  { "count" : 50 }
, { "name" : "conv.weight + QuantizeLinear_7 + Conv_9 + PWN(Relu_10)", "timeMs" : 10, \
"averageMs" : 0.2, "medianMs" : 0.19, "percentage" : 50 }
, { "name" : "Reformatting CopyNode for Input Tensor 0 to Gemm_12", "timeMs" : 0, \
"averageMs" : 0, "medianMs" : 0, "percentage" : 0 }
, { "name" : "Gemm_12", "timeMs" : 10, "averageMs" : 0.2, "medianMs" : 0.2, "percentage" : 50 }
]
"""
LAYERS = """{"Layers": [{
  "Name": "conv.weight + QuantizeLinear_7 + Conv_9 + PWN(Relu_10)",
  "LayerType": "CaskConvolution",
  "Inputs": [
  {
    "Name": "input",
    "Dimensions": [8,3,32,32],
    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"
  }],
  "Outputs": [
  {
    "Name": "relu",
    "Dimensions": [8,16,32,32],
    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"
  }],
  "Weights": {"Type": "Int8", "Count": 432}
},{
  "Name": "Gemm_12",
  "LayerType": "CaskGemmConvolution",
  "Inputs": [
  {
    "Name": "relu",
    "Dimensions": [8,16384],
    "Format/Datatype": "Row major linear FP32"
  }],
  "Outputs": [
  {
    "Name": "output",
    "Dimensions": [8,10],
    "Format/Datatype": "Row major linear FP32"
  }],
  "Weights": {"Type": "Float", "Count": 163840}
}],
"Bindings": ["input"
,"output"
]}
"""
NAMES_ALONE = """{"Layers": ["Conv_9"
,"Gemm_12"
],
"Bindings": ["input"
,"output"
]}
"""


def old_times(starts: Sequence[float]) -> str:
    """Times as TensorRT 7 writes them, warm-up included: 3 ms each, 2 of them computing."""
    return json.dumps(
        [
            {
                "startInMs": at, "endInMs": at + 0.5, "startComputeMs": at + 0.5,
                "endComputeMs": at + 2.5, "startOutMs": at + 2.5, "endOutMs": at + 3,
                "inMs": 0.5, "computeMs": 2, "outMs": 0.5, "latencyMs": 3, "endToEndMs": 3.5,
            }
            for at in starts
        ]
    )  # fmt: skip


def write(folder: Path, **texts: str) -> list[Path]:
    """Files by these names, with the suffix ``.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(text, encoding="utf-8")
    return paths
