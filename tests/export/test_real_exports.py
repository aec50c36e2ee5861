"""Exports of real models, where their data is: the README's lines give the judged numbers."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import calaudit
from calaudit.audit.run import run_audit
from calaudit.formats.trt_cache import open_trt_cache
from calaudit.results.report import Report
from tests.export.readmes import answers, blocks, judged, pool_inputs
from tests.real_pools import DATA

pytestmark = [pytest.mark.slow, pytest.mark.data]

SPEECH = """
[audit]
name = "speech"
model = "model.onnx"
pool = "power/pool.h5"
evaluate = "split = 'evaluation' and snr_db < 0"
calibrate = "split = 'calibration'"
methods = ["entropy-trt"]
batch_size = 64
tune_samples = 64

[[slices]]
by = "speaker"

[[calibsets]]
name = "random"
size = 128

[[tasks]]
kind = "classification"
"""
"""Of the noisiest recordings alone, to be short."""


@pytest.fixture(scope="module")
def speech(
    real_pools: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Report]:
    pools, folder = real_pools("speech"), tmp_path_factory.mktemp("speech")
    (folder / "power").symlink_to(pools / "power")
    (folder / "model.onnx").symlink_to(DATA / "speech" / "power" / "model.onnx")
    (folder / "speech.toml").write_text(SPEECH, encoding="utf-8")
    report, _ = run_audit(folder / "speech.toml", formats="none")
    calaudit.export_engine(folder / "speech.toml", "random/entropy-trt", out=folder / "ship")
    return folder, report


def test_a_speech_model_answers_as_judged_bit_for_bit(speech: tuple[Path, Report]) -> None:
    folder, report = speech
    rows, wanted = judged(folder / "speech" / str(report.cells[0].predictions))
    (block,) = blocks(folder / "ship", "onnxruntime")
    found = answers(
        folder / "ship", block, pool_inputs(folder / "power" / "pool.h5", rows), batch=64
    )
    assert len(rows) == 600
    assert found["y"].tobytes() == wanted["y"].tobytes()


def test_its_cache_has_the_81_tensors_that_tensorrt_asks_for(speech: tuple[Path, Report]) -> None:
    cache = open_trt_cache(speech[0] / "ship" / "calibration.cache")
    assert len(cache.entries) == 81
    assert str(cache.header) == "TRT-8503-EntropyCalibration2"


def test_tensorrt_rtx_builds_its_convolutions_in_int8(
    speech: tuple[Path, Report], rtx: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("from tensorrt_rtx_bindings import *")
    (block,) = blocks(speech[0] / "ship", "TensorRT in Python")
    # as they stand, but that it tells what its layers run in
    telling = block.replace("trt.Logger.WARNING", "trt.Logger.VERBOSE").replace(
        "config.clear_flag(",
        "config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED\nconfig.clear_flag(",
    )
    path = f"{rtx['PYTHONPATH']}{os.pathsep}{tmp_path}"
    done = subprocess.run(
        [sys.executable, "-c", telling],
        cwd=speech[0] / "ship",
        env={**rtx, "PYTHONPATH": path, "COMPUTE_CAPABILITY": "SM89"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (done.stdout + done.stderr).count("Datatype: Int8") > 27
    assert (speech[0] / "ship" / "model.plan").stat().st_size > 1_000_000
