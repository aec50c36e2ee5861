"""The same thing by two hands: outputs of two backends, ranges of two estimators."""

from pathlib import Path

import pytest

from calaudit.audit.plan import PlannedCell
from calaudit.audit.records import compare_ranges
from calaudit.audit.run import run_audit
from calaudit.results.audited import ComparedTap
from tests.audit.world import AUDIT, make_world


def cell(method: str, **more: object) -> PlannedCell:
    here = Path(method)
    return PlannedCell(f"set/{method}", "b", "int8", "set", method, None, None, here, here, **more)


def test_ranges_are_told_in_amax_with_whose_they_are() -> None:
    theirs = cell("native", given="calibset", nearest=("entropy",))
    ours = cell("entropy", given="scales")
    scales = {
        theirs.id: {"a": 1 / 127, "b": 2 / 127, "c": 3 / 127, "theirs": 1.0, "x": 1.0},
        ours.id: {"a": 1 / 127, "b": 6 / 127, "c": 3.3 / 127, "ours": 1.0},
    }
    (found,) = compare_ranges([theirs, ours], scales)
    assert (found.cell, found.other) == ("set/native", "set/entropy")
    assert (found.taps, found.differing) == (3, 2)
    assert (found.only_tensorrt, found.only_calaudit) == (2, 1)
    assert found.shown == (
        ComparedTap("b", pytest.approx(2), pytest.approx(6)),
        ComparedTap("c", pytest.approx(3), pytest.approx(3.3)),
    )


def test_engines_on_two_backends_are_told_with_their_verdicts(
    tmp_path: Path, example_package: object
) -> None:
    keys = 'backend = "onnx_reference"\nverify = true\nagree_with = ["onnxruntime"]\n'
    report, _ = run_audit(
        make_world(tmp_path, n=600, audit=AUDIT.replace("batch_size", f"{keys}batch_size"))
    )
    (reference, *cells) = report.agreement
    assert (reference.cell, reference.other, reference.verdicts) == ("fp32", None, 0)
    assert len(cells) == 4
    for one in cells:
        assert one.other == f"{one.cell}/onnx_reference"
        gated = {
            name: {
                (r.slice, r.metric): r.verdict
                for r in report.results
                if r.cell == name and r.gate is not None
            }
            for name in (one.cell, one.other)
        }
        assert one.verdicts == len(gated[one.cell]) == 4
        assert one.verdicts_equal == sum(
            verdict == gated[one.other][key] for key, verdict in gated[one.cell].items()
        )
        assert (one.output, one.k, one.n) == ("y", 1, report.slices[0].n)
        assert one.same_top == pytest.approx(1, abs=0.01)
