"""Run in a process of its own: a model of more than 2 GiB, from file to answers, and its memory."""

import sys
import threading
import time
from pathlib import Path

import numpy as np

ROWS, WIDTH = 1_100_000, 512  # 2.1 GiB of float32
EVERY = 100_000
N_OUT = 16


def _export(folder: Path) -> None:
    """A table of zeros but for some rows, which takes no room on most disks, and a product."""
    from onnx import TensorProto, helper, numpy_helper

    n_bytes = ROWS * WIDTH * 4
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[ROWS, WIDTH])
    table.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "model.data"), ("offset", 0), ("length", n_bytes)):
        entry = table.external_data.add()
        entry.key, entry.value = key, str(value)
    random = np.random.default_rng(0)
    with (folder / "model.data").open("wb") as file:
        file.truncate(n_bytes)
        for row in range(0, ROWS, EVERY):
            file.seek(row * WIDTH * 4)
            file.write(random.standard_normal(WIDTH).astype(np.float32).tobytes())
    weight = random.normal(0, 0.05, (WIDTH, N_OUT)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "item"], ["found"], name="look_up"),
            helper.make_node("MatMul", ["found", "w"], ["y"], name="product"),
        ],
        "large",
        [helper.make_tensor_value_info("item", TensorProto.INT64, ["b"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", N_OUT])],
        [table, numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


def _expected(folder: Path, items: np.ndarray, scale: float) -> np.ndarray:
    """Fake quantization in numpy."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    weight = numpy_helper.to_array(proto.graph.initializer[1])
    table = np.memmap(folder / "model.data", np.float32, "r", shape=(ROWS, WIDTH))
    steps = np.abs(weight).max(axis=0) / np.float32(127)
    x = np.clip(np.rint(table[items] / np.float32(scale)), -128, 127) * np.float32(scale)
    return x @ (np.clip(np.rint(weight / steps), -127, 127) * steps)


def main(folder: Path) -> None:
    """Export, calibrate, build, run, compare."""
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
    from calaudit.formats.pool import open_pool
    from calaudit.formats.pool_writer import write_pool
    from calaudit.graph.load import load_model
    from calaudit.sampling.kinds import make_recipe
    from calaudit.steps.build import build_engine
    from calaudit.steps.calibrate import calibrate_sets
    from calaudit.steps.sample import draw_calibset

    _export(folder)
    items = np.arange(0, ROWS, EVERY)
    write_pool(
        folder / "pool.h5", inputs={"item": items}, targets={}, meta={"n": np.arange(len(items))}
    )
    with open_pool(folder / "pool.h5") as pool:
        draw_calibset(pool, make_recipe(name="all", size=len(items)), folder / "all.h5")
    model, engine = folder / "model.onnx", folder / "engine.onnx"
    (table,) = calibrate_sets(model, [folder / "all.h5"], folder / "r.h5", methods=["minmax"])
    build_engine(model, table, engine)
    assert (folder / "engine.onnx.weights").stat().st_size > 2**31
    built = load_model(engine, quantized=True)
    found = OnnxruntimeBackend().load(built).run({"item": items})["y"]
    expected = _expected(folder, items, table.scales["found"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(found).min() > 0


class _Peak(threading.Thread):
    """Looks at what memory the process has for itself, pages of mapped files left out."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.kib = 0

    def run(self) -> None:
        """Look some times a second."""
        while True:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            found = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.kib = max(self.kib, int(found.split()[1]))
            time.sleep(0.05)


if __name__ == "__main__":
    peak = _Peak()
    peak.start()
    main(Path(sys.argv[1]))
    assert 0 < peak.kib < 1 << 20, f"{peak.kib} KiB"
