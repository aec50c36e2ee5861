"""A model of ResNet-50's size and shapes, with seeded weights, images, and sets of them."""

from pathlib import Path
from typing import Any

N_SETS = 32


def build_resnet50(path: Path) -> None:
    """ResNet-50 with BatchNormalization folded, He weights, quiet residual branches."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[TensorProto] = []

    def conv(x: str, c_in: int, c_out: int, k: int, stride: int, *, gain: float) -> str:
        name = f"conv{len(weights) // 2}"
        kernel = random.standard_normal((c_out, c_in, k, k), np.float32)
        kernel *= np.float32(gain * np.sqrt(2 / (c_in * k * k)))
        bias = np.float32(0.1) * random.standard_normal(c_out, np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}.weight"))
        weights.append(numpy_helper.from_array(bias, f"{name}.bias"))
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        nodes.append(
            helper.make_node(
                "Conv", inputs, [name], kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4
            )
        )
        return name

    def op(kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{inputs[0]}.{kind}"
        nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    x = op("Relu", [conv("image", 3, 64, 7, 2, gain=1)])
    x = op("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    c_in = 64
    for width, blocks, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = 1 if block else first_stride
            skip = x if block else conv(x, c_in, 4 * width, 1, stride, gain=0.7)
            y = op("Relu", [conv(x, c_in, width, 1, 1, gain=1)])
            y = op("Relu", [conv(y, width, width, 3, stride, gain=1)])
            x = op("Relu", [op("Add", [conv(y, width, 4 * width, 1, 1, gain=0.3), skip])])
            c_in = 4 * width
    x = op("Flatten", [op("GlobalAveragePool", [x])])
    matrix = np.float32(0.02) * random.standard_normal((1000, 2048), np.float32)
    weights.append(numpy_helper.from_array(matrix, "fc.weight"))
    nodes.append(helper.make_node("Gemm", [x, "fc.weight"], ["logits"], transB=1))
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))


def prepare_resnet50(folder: Path, counts: list[int]) -> None:
    """Model, images as .npy, and for each number of images one set of all and 32 of half."""
    import numpy as np

    from calaudit.formats.pool import open_pool
    from calaudit.formats.pool_writer import write_pool
    from calaudit.sampling.kinds import make_recipe
    from calaudit.steps.sample import draw_calibset

    build_resnet50(folder / "model.onnx")
    n = max(counts)
    images = np.random.default_rng(1).standard_normal((n, 3, 224, 224), np.float32)
    np.save(folder / "images.npy", images)
    write_pool(
        folder / "pool.h5",
        inputs={"image": images},
        targets={"label": np.zeros(n, np.int64)},
        meta={"number": np.arange(n)},
    )
    with open_pool(folder / "pool.h5") as pool:
        for count in counts:
            for number in range(N_SETS + 1):
                recipe = make_recipe(
                    name="all" if number == N_SETS else f"set {number}",
                    kind="uniform",
                    size=count if number == N_SETS else count // 2,
                    candidates=f"number < {count}",
                )
                draw_calibset(pool, recipe, set_path(folder, count, number), seed=number)


def set_path(folder: Path, count: int, number: int) -> Path:
    return folder / f"{count}-{number}.h5"
