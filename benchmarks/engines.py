"""What a real TensorRT on a real GPU computes, beside onnxruntime on the CPU, and how fast.

    python benchmarks/engines.py [--only audit,encoder,speech,throughput]
        [--library tensorrt --python ‹command of the interpreter that has it›]

Runs the ranking audit (FP32, FP16, INT8; two calibration sets) with TensorRT as the audited
backend and onnxruntime to agree with; a small transformer encoder; the speech model in FP32 and
FP16; and the runner's throughput and latency, in the worker, against a plain loop, bare enqueues
and copies. Where TensorRT can't run it says why and does nothing.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from beside_the_runner import N_SHORT
from onnx import TensorProto, helper, numpy_helper

from calaudit.audit.prepare import Overrides
from calaudit.audit.run import run_audit
from calaudit.backends.health import examine
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.build import TimingCache
from calaudit.backends.tensorrt.link import Worker
from calaudit.backends.tensorrt.location import Location
from calaudit.backends.tensorrt.session import session_of
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.load import load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import apply_qdq
from calaudit.graph.taps import with_taps
from calaudit.report.tables import View
from calaudit.report.terminal import print_report
from calaudit.results.report import Report
from calaudit.runtime.errors import BackendError

BATCHES = (1, 64, 1024, 4096)
PARTS = ("audit", "encoder", "speech", "throughput")
DATA = Path(__file__).parents[2] / "shared" / "data"
RANKING = """
[audit]
name = "ranking on TensorRT"
model = "model.onnx"
pool = "pool.h5"
evaluate = "split = 'evaluation'"
calibrate = "split = 'calibration'"
methods = ["minmax", "mse"]
backend = "{library}"
{python}
agree_with = ["onnxruntime"]
precisions = ["int8", "fp16"]

[[slices]]
by = "activity"
quantiles = 3

[[calibsets]]
recipe = "{recipes}/ranking-most-active.toml"

[[calibsets]]
recipe = "{recipes}/ranking-random.toml"

[[tasks]]
kind = "ranking"
tail = {{ head_items = 0.2 }}

[[gates]]
metric = "ndcg@10"
max_drop = 0.02

[[gates]]
metric = "long_tail_share@10"
max_drop = 0.02
"""


def encoder(width: int = 128, heads: int = 4, tokens: int = 32, layers: int = 2) -> Model:
    """A transformer encoder with random weights, as exporters write one; (b, tokens, width)."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def array(name: str, values: Any) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def linear(x: str, name: str, n_in: int, n_out: int) -> str:
        spread = 1 / np.sqrt(n_in)
        w = array(f"{name}.w", rng.normal(0, spread, (n_in, n_out)).astype(np.float32))
        b = array(f"{name}.b", rng.normal(0, 0.1, n_out).astype(np.float32))
        return op("Add", [op("MatMul", [x, w], f"{name}.m"), b], name)

    def norm(x: str, name: str) -> str:
        one, zero = np.ones(width, np.float32), np.zeros(width, np.float32)
        ends = [array(f"{name}.g", one), array(f"{name}.b", zero)]
        return op("LayerNormalization", [x, *ends], name, axis=-1)

    split = array("split", np.array([0, tokens, heads, width // heads], np.int64))
    merge = array("merge", np.array([0, tokens, width], np.int64))
    root = array("root", np.float32(np.sqrt(width / heads)))
    x = "x"
    for n in range(layers):
        normed = norm(x, f"l{n}.n1")
        parts = []
        for part in "qkv":
            shaped = op("Reshape", [linear(normed, f"l{n}.{part}", width, width), split],
                        f"l{n}.{part}s")  # fmt: skip
            perm = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
            parts.append(op("Transpose", [shaped], f"l{n}.{part}t", perm=perm))
        q, k, v = parts
        scores = op("Div", [op("MatMul", [q, k], f"l{n}.qk"), root], f"l{n}.scaled")
        context = op("MatMul", [op("Softmax", [scores], f"l{n}.p", axis=-1), v], f"l{n}.pv")
        back = op("Transpose", [context], f"l{n}.back", perm=[0, 2, 1, 3])
        o = linear(op("Reshape", [back, merge], f"l{n}.merged"), f"l{n}.o", width, width)
        x = op("Add", [x, o], f"l{n}.r1")
        h = linear(norm(x, f"l{n}.n2"), f"l{n}.up", width, 4 * width)
        x = op("Add", [x, linear(op("Relu", [h], f"l{n}.a"), f"l{n}.down", 4 * width, width)],
               f"l{n}.r2")  # fmt: skip
    op("Identity", [x], "y")
    shape: list[str | int | None] = ["b", tokens, width]
    graph = helper.make_graph(
        nodes, "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], weights,
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Model(proto, "encoder")


def variants(model: Model, feeds: dict[str, Any]) -> dict[str, Model]:
    """FP32, FP16 and min-max INT8 of a model."""
    prepared = prepare(model)
    plan = plan_qdq(prepared)
    observed = OnnxruntimeBackend().load(with_taps(prepared, plan.taps)).run(feeds)
    scales = {tap: float(np.abs(observed[tap]).max() / 127) for tap in plan.taps}
    return {
        "fp32": model,
        "fp16": convert_to_fp16(prepared)[0],
        "int8": apply_qdq(prepared, plan, scales),
    }


def compare(title: str, model: Model, feeds: dict[str, Any], backend: TensorrtBackend) -> None:
    """Each precision on both backends."""
    print(f"\n## {title}")
    for precision, graph in variants(model, feeds).items():
        wanted = OnnxruntimeBackend().load(graph).run(feeds)
        try:
            engine = backend.load(graph)
        except BackendError as error:
            print(f"{precision}: not built: {str(error)[:160]}")
            continue
        found = engine.run(feeds)
        proof = backend.inspect(engine, graph, backend.asked(graph))
        counts = {} if proof is None else proof.counts(precision)
        for name, values in wanted.items():
            top = np.mean(values.reshape(len(values), -1).argmax(1)
                          == found[name].reshape(len(values), -1).argmax(1))  # fmt: skip
            gap = np.abs(values.astype(np.float64) - found[name]).max()
            print(f"{precision} {name}: max |x| {np.abs(values).max():.4g}, max abs difference "
                  f"{gap:.3g}, same top-1 {top:.4f}, asked/got {counts}")  # fmt: skip
        engine.close()


def show(report: Report) -> None:
    """The audit's cells side by side."""
    print(f"verdict {report.verdict}; reference {report.reference.backend}")
    for cell in report.cells:
        engine = cell.engine
        print(f"cell {cell.id}: {cell.status} {cell.reason or ''}"
              f" asked {dict(engine.asked_ops) if engine else {}}"
              f" int8 {dict(engine.quantized_ops) if engine else {}}"
              f" proof {engine.proof if engine else None}")  # fmt: skip
    for row in report.results:
        if row.metric in {"ndcg@10", "long_tail_share@10", "overlap@10"} and row.slice == "all":
            print(f"{row.cell:38} {row.metric:20} {row.reference:.4f} → {row.candidate:.4f}  "
                  f"{row.verdict}")  # fmt: skip
    for a in report.agreement:
        print(f"agreement {a.cell} ~ {a.other or 'reference'}: n {a.n}, max abs difference "
              f"{a.max_abs_diff:.3g}, top-{a.k} overlap {a.same_top:.5f}, verdicts equal "
              f"{a.verdicts_equal} of {a.verdicts}")  # fmt: skip


def throughput(given: argparse.Namespace) -> None:
    """The runner of a worker, one engine per batch, in one process, up and down again."""
    row = (np.random.default_rng(1).random((64, 1447)) < 0.05).astype(np.float32)
    source = load_model(given.ranking_model) if given.ranking_model.exists() else ranker()
    model = variants(source, {source.inputs[0].name: row})["int8"]
    print(f"\n## throughput, {source.label}, INT8")
    print(f"{'batch':>6} {'runner':>12} {'of bound':>9} {'enqueue':>12} {'copies':>12} "
          f"{'one batch':>10} {'plain loop':>10} {'from here':>12}")  # fmt: skip
    for batch in (*BATCHES, *reversed(BATCHES)):
        backend = made(given, batch)
        engine = backend.load(model)
        told = measured(backend, engine, batch, row[:1])
        bound = max(told["enqueue"], told["both"])  # a run copies both ways at once
        n = batch * N_SHORT
        feeds = engine.empty_feeds(n)
        feeds[source.inputs[0].name][:] = row[:1]
        here = min(timed(partial(engine.run, feeds)) for _ in range(7)) / n
        print(f"{batch:6} {1 / told['runner']:10,.0f}/s {bound / told['runner']:9.1%} "
              f"{1 / told['enqueue']:10,.0f}/s {1 / told['both']:10,.0f}/s "
              f"{told['one'] * 1e6:7.1f} µs {told['plain'] * 1e6:7.1f} µs "
              f"{1 / here:10,.0f}/s")  # fmt: skip
        engine.close()
    worker = backend.session.perform(lambda worker: worker)
    spent = min(timed(lambda: worker.ask("hello.memory")) for _ in range(200))
    print(f"a request that does nothing takes {spent * 1e6:.0f} µs")


def measured(backend: TensorrtBackend, engine: Any, batch: int, row: Any) -> Any:
    """What beside_the_runner.py measures in the worker."""
    text = Path(__file__).with_name("beside_the_runner.py").read_text(encoding="utf-8")

    def ask(worker: Worker) -> Any:
        worker.ask("hello.learn", {"name": "beside_the_runner", "text": text})
        feeds = engine.empty_feeds(batch)
        (feeds["long"],) = engine.empty_feeds(batch * N_SHORT).values()
        for values in feeds.values():
            values[:] = row
        number = engine.number(worker)
        values = {"engine": number, "batch": batch}
        return worker.ask("beside_the_runner.measure", values, feeds, what="measure").values

    return backend.session.perform(ask)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ranker(items: int = 1447, width: int = 256) -> Model:
    """A stand-in of the ranking model, with random weights."""
    rng = np.random.default_rng(0)
    down, up = (rng.normal(0, 0.05, shape).astype(np.float32)
                for shape in ((items, width), (width, items)))  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "down"], ["m"], name="down"),
         helper.make_node("Relu", ["m"], ["h"], name="relu"),
         helper.make_node("MatMul", ["h", "up"], ["y"], name="up")], "ranker",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", items])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", items])],
        [numpy_helper.from_array(down, "down"), numpy_helper.from_array(up, "up")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Model(proto, "a ranker with random weights")


def made(given: argparse.Namespace, batch: int) -> TensorrtBackend:
    """The backend that is measured."""
    session = session_of(Location(given.library, python=given.python))
    given.out.mkdir(parents=True, exist_ok=True)
    return TensorrtBackend(session, max_batch=batch, timing=TimingCache(given.out))


def audit(given: argparse.Namespace) -> None:
    """The ranking audit on both backends, twice."""
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "ranking.toml"
    recipes = (Path(__file__).parents[1] / "calibsets").resolve()
    python = "" if given.python is None else f"python = {json.dumps(given.python)}"
    text = RANKING.format(recipes=recipes, library=given.library, python=python)
    path.write_text(text, encoding="utf-8")
    overrides = Overrides(model=given.ranking_model, pool=given.ranking_pool)
    start = time.perf_counter()
    report, written = run_audit(path, overrides)
    print(f"## ranking audit, {time.perf_counter() - start:.1f} s, {written}")
    print_report(report, view=View(limit=40))
    show(report)
    again, _ = run_audit(path, overrides)
    print("second run gives the same results:", again.results == report.results)


def speech_inputs(given: argparse.Namespace, model: Model) -> Any:
    """Recordings' features where they are given, else noise."""
    if given.speech_inputs is not None:
        return np.load(given.speech_inputs)
    shape = [size or 1 for size in model.inputs[0].shape]
    return np.random.default_rng(2).normal(0, 1, (512, *shape)).astype(np.float32)


def main() -> None:
    """Each part that is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("--ranking-model", type=Path, default=DATA / "ranking" / "model.onnx")
    parser.add_argument("--ranking-pool", type=Path, default=DATA / "ranking" / "ranking.h5")
    parser.add_argument(
        "--speech-model", type=Path, default=DATA / "speech" / "power" / "model.onnx"
    )
    parser.add_argument("--speech-inputs", type=Path, help="(n, 1, 40, 98), .npy; default: noise")
    parser.add_argument("--library", choices=["tensorrt", "tensorrt_rtx"], default="tensorrt_rtx")
    parser.add_argument("--python", help="command that starts the interpreter with TensorRT")
    parser.add_argument("--out", type=Path, default=Path("engine-results"))
    given = parser.parse_args()
    wanted = given.only.split(",")
    health = examine(given.library, {"fp32": {"Gemm"}, "int8": {"Gemm"}}, python=given.python)
    if not health.usable:
        print("\n".join(f"{each}\n  → {each.next_step}" for each in health.missing))
        return
    print(json.dumps({"gpu": health.device, "library": health.library}))
    backend = made(given, 64)
    rng = np.random.default_rng(1)
    if "audit" in wanted:
        if given.ranking_pool.exists():
            audit(given)
        else:
            print(f"no ranking audit: {given.ranking_pool} isn't there")
    if "encoder" in wanted:
        tokens = {"x": rng.normal(0, 1, (256, 32, 128)).astype(np.float32)}
        compare("transformer encoder, 2 layers", encoder(), tokens, backend)
    if "speech" in wanted and given.speech_model.exists():
        model = load_model(given.speech_model)
        name = model.inputs[0].name
        compare("speech model", model, {name: speech_inputs(given, model)}, backend)
    if "throughput" in wanted:
        throughput(given)


if __name__ == "__main__":
    main()
