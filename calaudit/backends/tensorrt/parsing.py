"""An ONNX graph becomes a TensorRT network, or an error in the parser's own words."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calaudit.backends.tensorrt.detect import TensorrtModule
from calaudit.backends.tensorrt.messages import Heard
from calaudit.errors import BackendError
from calaudit.graph import Model, write_model


def parse_onnx(
    found: TensorrtModule, network: Any, model: Model, logger: Any, heard: Heard
) -> None:
    """Fill `network` (an ``INetworkDefinition``) from `model`.

    Raises
    ------
    BackendError
        TensorRT refuses the graph: says why, and names the nodes.
    """
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = found.module
    parser = trt.OnnxParser(network, logger)
    if _parsed(parser, model):
        return
    reasons = dict.fromkeys(_reason(parser.get_error(at)) for at in range(parser.num_errors))
    raise BackendError(
        f"{found.title} refuses the graph: {'; '.join(reasons) or heard.explain()}",
        where=model.label,
        next_step="Export the model with operators that TensorRT's ONNX parser knows.",
    )


def _parsed(parser: Any, model: Model) -> bool:
    if not model.oversized:
        return bool(parser.parse(model.serialize()))
    with tempfile.TemporaryDirectory(prefix="calaudit-") as folder:
        path = Path(folder) / "model.onnx"
        write_model(model, path, path.with_name("weights"), location="weights")
        return bool(parser.parse_from_file(str(path)))


def _reason(error: Any) -> str:
    text = " ".join(str(error.desc()).split())
    name = error.node_name() if hasattr(error, "node_name") else ""
    op = error.node_operator() if hasattr(error, "node_operator") else ""
    return f"{text} (node {name}{f', {op}' if op else ''})" if name else text
