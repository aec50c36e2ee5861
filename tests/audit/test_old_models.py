from pathlib import Path

import onnx
import pytest

from calaudit.audit.run import run_audit
from tests.audit.world import AUDIT, make_world
from tests.graph.test_versions import weights_as_inputs


@pytest.mark.parametrize("opset", [11, 17])
def test_a_model_whose_weights_are_inputs_too_is_audited_in_every_precision(
    opset: int, tmp_path: Path
) -> None:
    asked = AUDIT.replace('"mse"]', '"mse"]\nprecisions = ["int8", "fp16"]')
    audit = make_world(tmp_path, n=400, audit=asked)
    path = tmp_path / "model.onnx"
    proto = onnx.load(str(path))
    proto.opset_import[0].version = opset
    onnx.save(weights_as_inputs(proto), str(path))
    report, _ = run_audit(audit)
    assert {cell.status for cell in report.cells} == {"judged"}
    assert {cell.precision for cell in report.cells} == {"int8", "fp16"}
    codes = {notice.code for notice in report.warnings}
    assert ("opset_converted" in codes) == (opset < 13)
