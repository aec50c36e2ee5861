import gc
import weakref
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from calaudit.backends.onnxruntime import sessions
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.model import Model
from calaudit.graph.prepare import prepare
from calaudit.runtime.errors import BackendError
from tests.graph import models
from tests.graph.running import quantize, run


def test_fused_and_emulated_kernels_give_the_same_top_1() -> None:
    source = Model(models.conv_bn_relu(), "sketch")
    feeds = models.feeds(source.proto, n=400)
    _, model = quantize(source, feeds)
    emulated, fused = run(model, feeds)["y"], run(model, feeds, "fused")["y"]
    clear = np.diff(np.sort(emulated, axis=1)[:, -2:], axis=1)[:, 0] > 0.02 * emulated.std()
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(emulated[clear].argmax(1), fused[clear].argmax(1))


def test_emulation_doesnt_depend_on_the_number_of_threads() -> None:
    source = Model(models.residual(), "sketch")
    feeds = models.feeds(source.proto, n=16)
    _, model = quantize(source, feeds)
    one, two = (OnnxruntimeBackend(threads=n).load(model).run(feeds)["y"] for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_the_kernels_are_recorded() -> None:
    model = Model(models.gemms(), "sketch")
    for kernels in ("emulated", "fused"):
        assert OnnxruntimeBackend(kernels=kernels).load(model).record["kernels"] == kernels


def test_a_large_model_goes_by_way_of_files_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model(models.residual(), "sketch")
    feeds = models.feeds(model.proto)
    wanted = run(model, feeds)["y"]
    monkeypatch.setattr(sessions, "MESSAGE", 1000)
    monkeypatch.setattr(Model, "serialize", None)
    np.testing.assert_array_equal(run(model, feeds)["y"], wanted)


def test_an_fp16_model_runs_and_stays_near_its_source() -> None:
    source = prepare(Model(models.residual(), "sketch"))
    feeds = models.feeds(source.proto, n=16)
    assert "fp16" in OnnxruntimeBackend().capabilities.precisions
    wanted, found = run(source, feeds)["y"], run(convert_to_fp16(source)[0], feeds)["y"]
    assert 0 < np.abs(wanted - found).max() < 0.01 * np.abs(wanted).max()


def test_what_results_depend_on_is_in_the_key() -> None:
    emulated, fused = OnnxruntimeBackend(threads=1), OnnxruntimeBackend(threads=2, kernels="fused")
    assert emulated.key != fused.key
    assert emulated.key == OnnxruntimeBackend(threads=2).key


def _recurrent(batch: int) -> Model:
    """A GRU whose initial state is written for one batch size, though the input's is free."""
    s = models.Sketch()
    s.op("Transpose", ["x"], "xt", perm=[1, 0, 2])
    state = s.array("state", np.zeros((1, batch, 4), np.float32))
    weights = [s.weight("w", 1, 12, 3), s.weight("r", 1, 12, 4)]
    s.op("GRU", ["xt", *weights, "", "", state], "h", hidden_size=4)
    s.op("Transpose", [s.op("Squeeze", ["h", s.array("axis", np.array([1]))], "hs")], "y",
         perm=[1, 0, 2])  # fmt: skip
    return Model(s.model({"x": ["b", 5, 3]}, {"y": ["b", 5, 4]}), "sketch")


def test_a_batch_of_one_that_is_written_into_the_graph_is_found_out() -> None:
    x = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32)
    engine = OnnxruntimeBackend().load(_recurrent(1))
    wanted = np.concatenate([engine.run({"x": x[i : i + 1]})["y"] for i in range(6)])
    np.testing.assert_array_equal(engine.run({"x": x})["y"], wanted)
    np.testing.assert_array_equal(run(_recurrent(6), {"x": x})["y"], wanted)


def test_another_batch_that_is_written_into_the_graph_is_refused_with_a_way_out() -> None:
    x = np.zeros((2, 5, 3), np.float32)
    with pytest.raises(BackendError, match=r"(?s)initial_h.*dynamo=True"):
        run(_recurrent(3), {"x": x})


def test_an_output_that_numpy_has_no_type_for_is_refused_with_the_way_out() -> None:
    proto = models.gemms()
    name = proto.graph.output[0].name
    proto.graph.node.append(helper.make_node("Cast", [name], ["short"], to=TensorProto.BFLOAT16))
    proto.graph.output.append(helper.make_tensor_value_info("short", TensorProto.BFLOAT16, None))
    with pytest.raises(BackendError, match=r"no type for the output short \(bfloat16\)") as caught:
        OnnxruntimeBackend().load(Model(proto, "sketch"))
    assert "float32 outputs" in str(caught.value.problems[0].next_step)


def test_large_outputs_are_the_callers_own_however_they_came() -> None:
    """They aren't copied out of onnxruntime; an input that is an output, too, is."""
    node = helper.make_node("Relu", ["x"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1 << 18])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1 << 18])
    graph = helper.make_graph([node], "g", [x], [y, x])
    opsets = [helper.make_opsetid("", 17)]
    model = prepare(Model(helper.make_model(graph, opset_imports=opsets, ir_version=9), "g.onnx"))
    engine = OnnxruntimeBackend().load(model)
    random = np.random.default_rng(0)
    fed = [random.standard_normal((2, 1 << 18), np.float32) for _ in range(3)]
    kept = [engine.run({"x": values}) for values in fed]
    expected = [values.copy() for values in fed]
    for values in fed:
        values[:] = -1  # what was fed may change, and what was given doesn't
    engine.close()
    for answers, values in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(answers["x"], values)
        np.testing.assert_array_equal(answers["y"], np.maximum(values, 0))
        answers["y"][:] = 7  # nor is it anybody else's
    np.testing.assert_array_equal(kept[1]["x"], expected[1])


class Sharing(NamedTuple):
    threads: int
    every: int | None
    large: int
    runs: int
    of_each: int


@pytest.mark.parametrize(
    "case",
    [
        Sharing(1, None, 1, runs=1, of_each=1),
        Sharing(4, None, 1, runs=2, of_each=2),
        Sharing(3, None, 1, runs=2, of_each=2),
        Sharing(1, 2, 1, runs=2, of_each=1),
        Sharing(4, None, 0, runs=1, of_each=4),
    ],
)
def test_runs_share_the_threads_unless_their_outputs_are_large(
    monkeypatch: pytest.MonkeyPatch, case: Sharing
) -> None:
    made: list[int] = []
    make = sessions.make_session
    monkeypatch.setattr(sessions, "_LARGE_RUN", case.large << 30)

    def making(model: Model, options: ort.SessionOptions) -> ort.InferenceSession:
        made.append(options.intra_op_num_threads)
        return make(model, options)

    monkeypatch.setattr(sessions, "make_session", making)
    model = Model(models.residual(), "sketch")
    backend = OnnxruntimeBackend(threads=case.threads, all_threads=case.every)
    engine, at_a_time = backend.load_shared(model)
    assert (at_a_time, made) == (case.runs, [case.of_each])
    feeds = models.feeds(model.proto)
    np.testing.assert_array_equal(engine.run(feeds)["y"], run(model, feeds)["y"])


def test_an_engine_for_several_threads_does_not_keep_the_graph() -> None:
    model = Model(models.residual(), "sketch")
    kept = weakref.ref(model)
    engine, _ = OnnxruntimeBackend().load_shared(model)
    del model
    gc.collect()
    assert kept() is None
    assert engine.outputs == ("y",)
