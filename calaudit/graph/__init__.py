"""ONNX graph surgery: check, fold, tap, and place Q/DQ. The only folder that imports onnx."""

from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.insertion import apply_qdq
from calaudit.graph.load import load_model
from calaudit.graph.match import check_pool_matches
from calaudit.graph.model import Model, ModelTensor
from calaudit.graph.placement import plan_qdq
from calaudit.graph.plan import Decision, QdqPlan, explain
from calaudit.graph.prepare import prepare
from calaudit.graph.store import write_model
from calaudit.graph.taps import shaped_by_values, tapped, with_taps
from calaudit.graph.tensors import TensorNames, name_tensors

__all__ = [
    "Decision",
    "Model",
    "ModelTensor",
    "QdqPlan",
    "TensorNames",
    "apply_qdq",
    "check_pool_matches",
    "convert_to_fp16",
    "explain",
    "load_model",
    "name_tensors",
    "plan_qdq",
    "prepare",
    "shaped_by_values",
    "tapped",
    "with_taps",
    "write_model",
]
