"""The audits of engines that other tools made, as far as a CPU and onnxruntime's quantizer go.

Where the real models are: the engines are made by the example's script, of few samples, and judged
on few, so that NNCF, ModelOpt and TensorRT are left out and nothing is said of how much is lost.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.config import read_audit
from calaudit.audit.run import run_audit
from calaudit.formats.calibset import open_calibset
from calaudit.results.audited import CellRecord
from calaudit.results.report import Report
from tests.cli.running import calaudit
from tests.real_pools import DATA, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.data]

_TABLE = re.compile(r"\[\[engines\]\]\n(?:[^\[\n].*\n|\n)+")
_OF = {"speech": ("speech/power", 16), "detection": ("detection", 3)}
"""Case → folder of its model, samples that engines are calibrated on."""


def quantized(case: str, pool: Path, recipe: str, out: Path, model: Path) -> None:
    """The engines by onnxruntime's quantizer, of the recipe's first samples."""
    drawn = out / "set.h5"
    made = calaudit("sample", pool, ROOT / "calibsets" / recipe, "--out", drawn)
    assert made.status == 0, made.err
    first = next(open_calibset(drawn).batches(_OF[case][1]))
    np.savez(out / "set.npz", **first)
    script = ROOT / "examples" / "engines" / "onnxruntimes.py"
    done = subprocess.run(
        [sys.executable, str(script), str(model), str(out / "set.npz"), str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def prepared(case: str, name: str, pool: Path, folder: Path, kept: Callable[[str], bool]) -> Path:
    """An audit of the repository with its files where they are here, and some of its engines."""
    model = DATA / _OF[case][0] / "model.onnx"
    if not model.exists():
        pytest.skip(f"the {case} data isn't there (set CALAUDIT_DATA)")
    text = (ROOT / "audits" / f"{name}.toml").read_text(encoding="utf-8")
    text = _TABLE.sub(lambda table: table[0] if kept(table[0]) else "", text)
    text = re.sub(r'"\.\./data/[^"]*model\.onnx"', f'"{model}"', text)
    text = re.sub(r'"\.\./data/[^"]*pool\.h5"', f'"{pool}"', text)
    text = re.sub(r'"\.\./data/engines/(?:detection/)?', f'"{folder}/', text)
    text = text.replace("../calibsets/", f"{ROOT / 'calibsets'}/")
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def narrowed(path: Path, evaluate: str) -> Report:
    """The audit on few of its samples, with one method."""
    text = path.read_text(encoding="utf-8").replace(', "entropy"]', "]")
    few = f'evaluate = "{evaluate}"\ntune_samples = 32'
    text = text.replace("evaluate = \"split = 'evaluation'\"", few)
    path.write_text(text, encoding="utf-8")
    return run_audit(path, formats="none")[0]


def cells(report: Report) -> dict[str, CellRecord]:
    return {each.id: each for each in report.cells}


@pytest.fixture(scope="module")
def speech(
    real_pools: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Pool and folder of engines of the sensitive speech model."""
    pool, out = real_pools("speech") / "power" / "pool.h5", tmp_path_factory.mktemp("speech")
    model = DATA / "speech" / "power" / "model.onnx"
    quantized("speech", pool, "speech-clean.toml", out, model)
    return pool, out


def test_onnxruntimes_engines_of_speech_are_judged_beside_the_control(
    speech: tuple[Path, Path],
) -> None:
    pool, folder = speech
    path = prepared("speech", "speech-elsewhere", pool, folder, lambda t: "onnxruntime" in t)
    report = narrowed(path, "split = 'evaluation' and speaker = 'theo'")
    found = cells(report)
    assert set(found) == {
        "clean only/minmax", "onnxruntime", "onnxruntime, per channel", "onnxruntime, QOperator",
        "onnxruntime, dynamic",
    }  # fmt: skip
    for name, cell in found.items():
        assert cell.engine is not None
        assert cell.precision == "int8"
        assert sum(cell.engine.quantized_ops.values()) == 28, name
    told = {name: cell.foreign and cell.foreign.names for name, cell in found.items()}
    assert told["onnxruntime"] == told["onnxruntime, QOperator"] == "calibset"
    assert told["onnxruntime, dynamic"] is None
    assert found["clean only/minmax"].role == "control"
    gated = {r.cell for r in report.results if r.verdict is not None}
    assert gated == set(found)


def test_the_graph_behind_the_plan_is_judged_and_the_plan_needs_its_board(
    speech: tuple[Path, Path],
) -> None:
    pool, folder = speech
    path = prepared("speech", "speech-plan", pool, folder, lambda _: True)
    config = read_audit(path)
    assert {e.name: (e.kind, e.target) for e in config.engines.values()} == {
        "plan": ("plan", "board"), "its graph": ("onnx", None),
        "its graph, built here": ("onnx", "board"),
    }  # fmt: skip
    assert config.targets["board"].backend == "tensorrt"
    text = _TABLE.sub(lambda t: "" if "board" in t[0] else t[0], path.read_text(encoding="utf-8"))
    alone = folder / "graph.toml"
    alone.write_text(re.sub(r"\[\[targets\]\]\n(?:.+\n)+", "", text), encoding="utf-8")
    report = narrowed(alone, "split = 'evaluation' and speaker = 'theo'")
    graph, control = (cells(report)[name] for name in ("its graph", "clean only/minmax"))
    assert graph.engine is not None
    assert control.engine is not None
    assert graph.engine.kernels == control.engine.kernels == "emulated"
    assert sum(graph.engine.quantized_ops.values()) == sum(control.engine.quantized_ops.values())
    assert any(r.verdict is not None for r in report.results if r.cell == "its graph")


def test_onnxruntimes_engines_of_the_detector_are_judged_beside_the_dark_control(
    detection_pool: Path, tmp_path: Path
) -> None:
    model = DATA / "detection" / "model.onnx"
    quantized("detection", detection_pool, "detection-dark.toml", tmp_path, model)
    path = prepared(
        "detection", "detection-elsewhere", detection_pool, tmp_path, lambda t: "onnxruntime" in t
    )
    report = narrowed(path, "split = 'evaluation' and light = 'clean' and photograph < 40")
    found = cells(report)
    assert set(found) == {"dark only/minmax", "onnxruntime", "onnxruntime, per channel"}
    for cell in found.values():
        assert cell.engine is not None
        assert cell.engine.quantized_ops == {"Conv": 31}
    lost = {r.cell: r.drop for r in report.results if (r.metric, r.slice) == ("ap", "all")}
    assert all(drop is not None and drop > 0.2 for drop in lost.values()), lost
    assert len(lost) == 3
