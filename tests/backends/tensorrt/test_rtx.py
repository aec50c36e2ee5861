"""TensorRT-RTX 1.7.1 itself, building on the CPU: the wheels come from PyPI."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from calaudit.demo.digits import DEMO_MODEL
from tests.graph.real_models import REAL

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def answers(rtx: dict[str, str]) -> dict[str, Any]:
    """What one process that has TensorRT-RTX found."""
    real = [str(path) for path in REAL.values() if path.is_file()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.backends.tensorrt.rtx_builds", str(DEMO_MODEL), *real],
        env=rtx,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def built(answers: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = answers["table"]
    return rows


def test_every_product_that_the_graph_quantized_runs_in_int8(built: list[dict[str, Any]]) -> None:
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in built:
        if row["precision"] != "int8":
            continue
        assert row["counts"], row
        for op, (asked, got) in row["counts"].items():
            assert asked == got, row
            name = Path(row["model"]).parent.name if "/" in row["model"] else row["model"]
            key = (f"{name}, SM{row['capability'].replace('.', '')}", op)
            totals[key][0] += asked
            totals[key][1] += got
    print(f"\n{'model':24} {'op':8} asked  got")
    for (model, op), (asked, got) in totals.items():
        print(f"{model:24} {op:8} {asked:5} {got:4}")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_both_gpus_engines_build_in_every_precision_without_a_warning(
    built: list[dict[str, Any]], precision: str
) -> None:
    mine = [row for row in built if row["precision"] == precision]
    assert {row["capability"] for row in mine} == {"8.9", "12.0"}
    assert {"residual", "depthwise_se", "attention", "gemms", "conv_1d"} <= {
        row["model"] for row in mine
    }
    assert all(row["bytes"] > 1000 and not row["short"] for row in mine)
    assert all("precision_short" not in row["notices"] for row in mine)


def test_fp16_products_run_in_fp16(built: list[dict[str, Any]]) -> None:
    counts = [row["counts"] for row in built if row["precision"] == "fp16"]
    assert counts
    assert all(asked == got for each in counts for asked, got in each.values())


def test_products_left_in_float_are_float_and_all_others_int8(answers: dict[str, Any]) -> None:
    built = answers["left_in_float"]
    assert len(built) == 8
    for each in built:
        floats = sorted(node for node, got in each["got"].items() if got == "fp32")
        assert floats == each["left"]
        assert {got for node, got in each["got"].items() if node not in floats} <= {"int8"}
        assert each["notices"] == []


def test_float_emulation_of_a_quantized_conv_is_told(answers: dict[str, Any]) -> None:
    found = answers["scales_along_inputs"]
    assert [asked for asked, _, _ in found["nodes"]] == ["int8", "int8"]
    assert any(got == "fp32" for _, got, _ in found["nodes"])
    assert any("fp32" in reason for _, got, reason in found["nodes"] if got == "fp32")
    assert any("requested int8, got fp32" in notice for notice in found["notices"])


def test_refusals_come_in_tensorrts_words(answers: dict[str, Any]) -> None:
    found = answers["refused"]
    assert "NoSuchOp" in found["op"]
    assert "unknown.onnx" in found["op"]
    assert "can't build for compute capability 8.8" in found["capability"]
    assert "Did you mean" in found["capability"]


def test_interrupts_cancel_a_build_and_are_raised(answers: dict[str, Any]) -> None:
    assert answers["interrupted"] == {"SIGINT": True, "SIGTERM": True, "builds_after": True}


def test_whatever_the_compiler_is_told_it_builds_and_fixed_shapes_are_another_engine(
    answers: dict[str, Any],
) -> None:
    plans = answers["turned"]
    assert set(plans) == {
        "", "optimization_level = 0", "optimization_level = 5", "sparsity = true", "tf32 = true",
        "shapes = fixed",
    }  # fmt: skip
    assert plans["shapes = fixed"] != plans[""]


def test_building_twice_gives_the_same_account_of_layers(answers: dict[str, Any]) -> None:
    assert answers["twice"] == {"same": True}


def test_doctor_tries_every_product_in_every_precision(answers: dict[str, Any]) -> None:
    found = answers["doctor"]
    assert found["library"].startswith("TensorRT-RTX 1.7.1.")
    if found["device"] is not None:
        pytest.skip("RTX 1.7.1 doesn't run on every GPU that may be here")
    assert len(found["trials"]) == 9
    assert [trial for trial in found["trials"] if trial["failure"]] == []
    assert {trial["got"] for trial in found["trials"]} == {"fp32", "fp16", "int8"}
    assert {"8.9", "12.0"} <= set(found["builds_for"])
    assert found["missing"], "a GPU"


def test_doctor_tells_a_gpu_that_cant_be_built_for(answers: dict[str, Any]) -> None:
    told = answers["doctor_for_hopper"]["missing"][-1]
    assert "doesn't run anything here: can't build for compute capability 9.0" in told


def test_float_emulation_is_told_and_stops_no_audit(answers: dict[str, Any]) -> None:
    found = answers["doctor_for_turing"]
    emulated = [each for each in found["missing"] if "Conv in INT8 here: becomes fp32" in each]
    assert len(emulated) == 1
    assert set(found["missing"]) - set(found["obstacles"]) == set(emulated)
    assert any("Gemm in INT8" in each for each in found["obstacles"])


def test_audit_records_what_rtx_says_its_engines_run_in(answers: dict[str, Any]) -> None:
    found = answers["audited"]
    cells = {cell["id"]: cell for cell in found["cells"]}
    mine = {name: cell for name, cell in cells.items() if cell["backend"] == "tensorrt_rtx"}
    assert set(mine) == {
        *(f"{s}/{m}/tensorrt_rtx" for s in ("loud only", "both") for m in ("minmax", "mse")),
        "fp16/tensorrt_rtx",
    }
    assert {cell["status"] for cell in cells.values()} == {"judged"}
    int8 = mine["both/mse/tensorrt_rtx"]["engine"]
    assert int8["proof"] == "builder's layer report"
    assert (int8["asked_ops"], int8["quantized_ops"]) == ({"MatMul": 1}, {"MatMul": 1})
    assert int8["options"]["library"].startswith("tensorrt_rtx 1.7.1.")
    half = mine["fp16/tensorrt_rtx"]["engine"]
    assert (half["asked_ops"], half["not_as_asked"]) == ({"MatMul": 1}, [])
    assert found["reference"]["backend"] == "tensorrt_rtx"
    assert "precision_short" not in found["warnings"]
    assert found["environment"]["gpu"] == "a fake GPU (compute capability 8.9)"
    assert found["environment"]["tensorrt_rtx"].startswith("1.7.1.")


def test_audit_holds_every_engine_against_the_other_backends(answers: dict[str, Any]) -> None:
    found = {each["cell"]: each for each in answers["audited"]["agreement"]}
    others = {cell: each["other"] for cell, each in found.items()}
    assert others["fp32"] is None
    assert others["both/mse"] == "both/mse/tensorrt_rtx"
    assert others["fp16"] == "fp16/tensorrt_rtx"
    # The stand-in that ran both may share its work out among another number of threads.
    assert all(each["max_abs_diff"] < 1e-3 for each in found.values())
    assert all(each["verdicts_equal"] == each["verdicts"] for each in found.values())


def test_second_audit_builds_no_engine_again(answers: dict[str, Any]) -> None:
    assert answers["audited"]["engines"] == 6
    assert answers["audited"]["again"]
