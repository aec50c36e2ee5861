"""Run by test_calibrators.py where NVIDIA's bindings of TensorRT 10.16.1 can be imported.

Whole audits with implicit quantization. The calibrators are subclasses of NVIDIA's and are called
through their virtual tables; the builder that calls them, the GPU and what runs the engines are
fakes: engines answer as onnxruntime does in FP32, or fail.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calaudit.audit.run import run_audit
from calaudit.backends.health import Health
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt import backend as trt_backend
from calaudit.backends.tensorrt import implicit
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.backends.tensorrt.build import BuiltPlan
from calaudit.backends.tensorrt.kind import TensorrtKind
from calaudit.formats.scales import open_scales
from calaudit.formats.trt_cache import open_trt_cache, parse_trt_cache
from calaudit.graph.load import load_model
from calaudit.graph.network import import_network
from calaudit.results.report import Report
from calaudit.runtime.errors import BackendError, SettingsError
from tests.audit import exempting
from tests.audit.world import AUDIT, make_world
from tests.backends.tensorrt.fakes.fake_tensorrt import Behaviour
from tests.backends.tensorrt.loopback import Loopback

KEYS = 'backend = "tensorrt"\nint8 = "implicit"\nranges = ["calaudit", "tensorrt"]\n'


class Fakes:
    """Stand-ins for the builder, the GPU and the runner."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.builds: list[Behaviour] = []
        self.takes_caches = True
        self.clips = 1.0
        self.worker = Loopback(patch)
        health = Health("tensorrt", "TensorRT", "a GPU", (), (), ("calaudit", "tensorrt"), ())
        patch.setattr(TensorrtKind, "examine", lambda *_: health)
        patch.setattr(trt_backend, "build_implicit", self.build)
        patch.setattr(TensorrtBackend, "gpu", "a fake GPU")
        patch.setattr(TensorrtBackend, "inspect", lambda *_: None)
        patch.setattr(
            TensorrtBackend,
            "build",
            lambda *_, **__: BuiltPlan(b"a plan in FP32", None, (), True, ()),
        )
        patch.setattr(TensorrtBackend, "ready", self.ready)

    def build(
        self, _: Any, model: Any, ranges: Any, profile: Any, *,
        what: str, float_ops: Any, **__: Any,
    ) -> Any:  # fmt: skip
        seen = Behaviour(takes_caches=self.takes_caches, clips=self.clips)
        self.builds.append(seen)
        session = self.worker.session(seen)
        return implicit.build_implicit(
            session, model, ranges, profile, what=what, float_ops=float_ops
        )

    @staticmethod
    def ready(backend: Any, plan: bytes, model: Any, *_: Any) -> Any:
        return OnnxruntimeBackend(threads=1).load(model)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    return Fakes(monkeypatch)


def audit(folder: Path, keys: str = KEYS, methods: str = '["minmax", "entropy"]') -> Path:
    text = AUDIT.replace('methods = ["minmax", "mse"]', f"methods = {methods}\n{keys}")
    return make_world(folder, audit=text)


def by_id(report: Report) -> dict[str, Any]:
    return {cell.id: cell for cell in report.cells}


def test_an_audit_compares_tensorrts_own_ranges_with_ours(tmp_path: Path, fakes: Fakes) -> None:
    report, _ = run_audit(audit(tmp_path))
    cells = by_id(report)
    assert list(cells) == [
        f"{calibset}/{method}/tensorrt"
        for calibset in ("loud only", "both")
        for method in ("minmax", "entropy", "native-entropy", "native-minmax")
    ]
    assert {cell.status for cell in cells.values()} == {"judged"}
    assert cells["both/native-minmax/tensorrt"].ranges_by == "tensorrt"
    assert cells["both/minmax/tensorrt"].ranges_by == "calaudit"
    served = [len(each.batches) for each in fakes.builds]
    assert served == [0, 0, 1, 1] * 2, "a scale table needs no data, a calibrator the whole set"
    assert [each.algorithm for each in fakes.builds[2:4]] == [
        "ENTROPY_CALIBRATION_2", "MINMAX_CALIBRATION"
    ]  # fmt: skip
    compared = {each.cell: each for each in report.compared_ranges}
    assert set(compared) == {name for name in cells if "native" in name}
    minmax = compared["both/native-minmax/tensorrt"]
    assert (minmax.other, minmax.taps, minmax.differing) == ("both/minmax/tensorrt", 1, 0)


def test_taps_whose_ranges_differ_are_reported(tmp_path: Path, fakes: Fakes) -> None:
    fakes.clips = 0.5
    report, _ = run_audit(audit(tmp_path))
    compared = {each.cell: each for each in report.compared_ranges}
    found = compared["both/native-minmax/tensorrt"]
    assert (found.other, found.taps, found.differing) == ("both/minmax/tensorrt", 1, 1)
    x = np.concatenate([batch["x"] for batch in fakes.builds[7].batches])
    amax = float(np.abs(x).max())
    (tap,) = found.shown
    assert (tap.tap, tap.tensorrt, tap.calaudit) == (
        "x",
        pytest.approx(amax / 2),
        pytest.approx(amax),
    )


def test_a_second_run_builds_nothing_and_compares_the_same(tmp_path: Path, fakes: Fakes) -> None:
    path = audit(tmp_path)
    first, _ = run_audit(path)
    n = len(fakes.builds)
    second, _ = run_audit(path)
    assert len(fakes.builds) == n
    assert second.compared_ranges == first.compared_ranges
    caches = sorted((tmp_path / "audit" / "engines").glob("*.cache"))
    assert len(caches) == 4
    assert {str(open_trt_cache(each).header) for each in caches} == {
        "TRT-101601-EntropyCalibration2", "TRT-101601-MinMaxCalibration"
    }  # fmt: skip


def test_a_cache_that_isnt_taken_fails_the_cell_and_no_other(tmp_path: Path, fakes: Fakes) -> None:
    fakes.takes_caches = False
    report, _ = run_audit(audit(tmp_path))
    status = {name: cell.status for name, cell in by_id(report).items()}
    assert {name for name, each in status.items() if each == "failed"} == {
        name for name in status if "native" not in name
    }
    reason = by_id(report)["both/minmax/tensorrt"].reason
    assert reason is not None
    assert "rejected the calibration cache" in reason
    assert report.compared_ranges == ()


def test_onnxruntime_predicts_the_engines_of_the_same_tables(tmp_path: Path, fakes: Fakes) -> None:
    report, _ = run_audit(audit(tmp_path, KEYS + 'agree_with = ["onnxruntime"]\n'))
    pairs = {(each.cell, each.other) for each in report.agreement}
    assert ("both/minmax", "both/minmax/tensorrt") in pairs
    assert not any("native" in str(name) for pair in pairs for name in pair)
    cells = by_id(report)
    assert cells["both/minmax"].scales == cells["both/minmax/tensorrt"].scales
    predicted = cells["both/minmax"].engine
    assert predicted.options == {"predicts": "TensorRT's implicit quantization"}
    assert predicted.quantized_ops == {"MatMul": 1}


def test_tables_of_ours_hold_every_tensor_of_the_network(tmp_path: Path, fakes: Fakes) -> None:
    path = audit(tmp_path)
    report, _ = run_audit(path)
    network = import_network(load_model(tmp_path / "model.onnx"))
    assert {"x", "h", "y"} <= set(network.names)
    found = {
        cell.id: list(open_scales(tmp_path / "audit" / cell.scales).taps)
        for cell in report.cells
        if cell.scales is not None
    }
    assert found == {
        f"{calibset}/{method}/tensorrt": list(network.names)
        for calibset in ("loud only", "both")
        for method in ("minmax", "entropy")
    }
    given = [each.offered for each in fakes.builds if not each.batches]
    # The fake parser adds nothing to the model's own tensors.
    assert [set(parse_trt_cache(each, where="given").scales) for each in given] == [
        {"x", "h", "y"}
    ] * 4


def test_what_an_exemption_leaves_in_float_is_held_there(tmp_path: Path, fakes: Fakes) -> None:
    text = exempting.AUDIT.replace("methods", f"{KEYS}methods") + exempting.HEAD
    report, _ = run_audit(exempting.head_world(tmp_path, text))
    held = {
        f"both/{way}/tensorrt": ["/head/fc/Gemm"] if "+" in way else []
        for way in ("minmax", "minmax+head", "native-minmax", "native-minmax+head")
    }
    cells = by_id(report)
    assert {cell.status for cell in cells.values()} == {"judged"}
    assert dict(zip(cells, (each.held for each in fakes.builds), strict=True)) == held
    assert {"OBEY_PRECISION_CONSTRAINTS" in each.flags for each in fakes.builds if each.held} == {
        True
    }
    exempt, plain = cells["both/minmax+head/tensorrt"], cells["both/minmax/tensorrt"]
    assert exempt.engine.exempt == ("/head/fc/Gemm",)
    assert exempt.engine.asked_ops == {"Gemm": 1}
    assert plain.engine.asked_ops == {"Gemm": 2}
    compared = {each.cell: each.other for each in report.compared_ranges}
    assert compared["both/native-minmax+head/tensorrt"] == "both/minmax+head/tensorrt"


def test_a_tensorrt_without_calibrators_stops_the_audit_before_any_work(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Health("tensorrt", "TensorRT 11.4.0.106", "a GPU", (), (), ("calaudit",), ())
    monkeypatch.setattr(TensorrtKind, "examine", lambda *_: newer)
    with pytest.raises(BackendError, match=r"TensorRT 11\.4\.0\.106 has no calibrators") as caught:
        run_audit(audit(tmp_path))
    assert "python3.10 -m pip install 'tensorrt==8.5.3.1'" in str(caught.value)
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize(
    ("keys", "methods", "message"),
    [
        ('backend = "tensorrt"\nranges = ["tensorrt"]\n', '["minmax"]', "for implicit"),
        (KEYS, '["mse", "percentile"]', "no method among mse, percentile"),
        (KEYS.replace('"calaudit", "tensorrt"', ""), '["minmax"]', "ranges must name"),
    ],
)
def test_keys_that_dont_fit_together_are_refused(
    tmp_path: Path, keys: str, methods: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        run_audit(audit(tmp_path, keys, methods))
