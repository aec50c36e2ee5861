"""What an audit makes of the account that an engine's library gives of its layers.

Engines answer as onnxruntime has them in every case: what changes is what the library says.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from calaudit.audit.run import run_audit
from calaudit.backends.onnxruntime.sessions import OnnxruntimeEngine
from calaudit.report.files import read_report
from calaudit.results.document import to_document
from calaudit.results.report import Report, exit_status
from calaudit.results.schema import schema_problems
from tests.audit.choosing import NODES, account, chain_world, choosing
from tests.audit.world import AUDIT
from tests.cli.running import calaudit

INT8, FP32, UNKNOWN = "Row major Int8 format", "Row major linear FP32", "N/A due to dynamic shapes"
ONE_SET = AUDIT.replace("max_drop = 0.05", "max_drop = 0.4").replace('"minmax", "mse"', '"minmax"')


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    with choosing(tmp_path):
        yield tmp_path / "world"


def audit(folder: Path, *kinds: str, keys: str = "") -> Path:
    """An audit whose INT8 engines' products run in `kinds`; the library tells nothing without."""
    folder.mkdir(parents=True, exist_ok=True)
    told = 'backend = "choosing"\n'
    if kinds:
        path = folder / "account.json"
        path.write_text(account(dict(zip(NODES, kinds, strict=True))), encoding="utf-8")
        told += f'account = "{path}"\n'
    return chain_world(folder, ONE_SET.replace("batch_size", f"{told}{keys}batch_size"))


def ran(folder: Path, *kinds: str, keys: str = "") -> Report:
    report, _ = run_audit(audit(folder, *kinds, keys=keys))
    assert list(schema_problems(to_document(report), where="r")) == []
    return report


def engine(report: Report):
    made = report.cells[0].engine
    assert made is not None
    return made


def test_the_share_of_multiply_accumulates_in_int8_stands_in_the_record(world: Path) -> None:
    report = ran(world, INT8, INT8, FP32)
    for cell in report.cells:
        assert cell.engine is not None
        assert (cell.engine.quantized_ops, cell.engine.float_ops) == ({"MatMul": 2}, {"MatMul": 1})
        assert (cell.engine.macs, cell.engine.int8_macs) == (64, 48)
        (short,) = cell.engine.not_as_asked
        assert (short.node, short.got, short.macs) == ("third", "fp32", 16)
        assert short.reason.endswith("an INT8 kernel is missing, or a float one timed faster")
        assert cell.engine.left_float == ()
    reference = report.reference.engine
    assert (reference.macs, reference.int8_macs, reference.uncounted) == (64, 0, 0)


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [
        ((INT8, INT8, INT8), "PASS  ("),
        ((INT8, INT8, FP32), "PASS, but 2 of 3 products in INT8 (75 % of MACs) in each of 2"),
        ((FP32, INT8, INT8), "PASS, but 2 of 3 products in INT8 (50 % of MACs) in each of 2"),
        ((FP32, FP32, INT8), "PASS, but 1 of 3 products in INT8 (25 % of MACs) in each of 2"),
        (
            (INT8, UNKNOWN, INT8),
            "PASS, but 2 of 3 products in INT8, 1 unproven (at least 75 % of MACs) in each of 2",
        ),
        ((UNKNOWN,) * 3, "PASS, but 0 of 3 products in INT8, 3 unproven in each of 2 engines"),
        ((UNKNOWN, UNKNOWN, FP32), "PASS, but 0 of 3 products in INT8, 2 unproven in each of 2"),
        ((), "PASS, but INT8 unproven in each of 2 engines"),
    ],
)
def test_types_swapped_in_the_librarys_account_change_the_verdict_line(
    world: Path, kinds: tuple[str, ...], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # xdist sets a width that folds the line
    ended = calaudit("compare", str(audit(world, *kinds)))
    assert ended.status == 0, ended.err
    (line,) = (row for row in ended.out.splitlines() if row.startswith("Verdict: "))
    assert line.startswith(f"Verdict: {verdict}")
    summary = (world / "audit" / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith(f"## ✅ {verdict.removesuffix('  (')}")


@pytest.mark.parametrize("kinds", [(FP32, FP32, FP32), (FP32, FP32, UNKNOWN)])
def test_an_engine_of_which_nothing_runs_in_int8_is_a_failed_cell(
    world: Path, kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    close = OnnxruntimeEngine.close
    monkeypatch.setattr(
        OnnxruntimeEngine, "close", lambda self: (closed.append(self), close(self))[1]
    )
    report = ran(world, *kinds)
    unknown = kinds.count(UNKNOWN)
    for cell in report.cells:
        assert (cell.status, cell.engine) == ("failed", None)
        assert cell.reason is not None
        doubt = ", 1 of unknown precision" if unknown else ""
        assert f"no product runs in INT8 (0 of 3 MatMul{doubt}): this engine is FP32" in cell.reason
        assert "by the engine inspector; MatMul matmul: TensorRT's" in cell.reason
        assert "calaudit doctor says what runs in INT8" in cell.reason
    assert report.results == ()
    assert (report.verdict, exit_status(report)) == ("INCONCLUSIVE", 3)
    assert len(closed) >= len(report.cells)
    made = {path.name.split("-")[0] for path in (world / "audit" / "predictions").glob("*.h5")}
    assert made == {"fp32"}, "an engine that isn't judged isn't run"


def test_an_implicit_engine_without_int8_is_sent_back_for_ranges(world: Path) -> None:
    report = ran(world, FP32, FP32, FP32, keys="implicit = true\n")
    reasons = {cell.reason for cell in report.cells}
    assert {cell.status for cell in report.cells} == {"failed"}
    assert all("Give every tensor that it asks for a range" in str(each) for each in reasons)
    partly = ran(world, FP32, INT8, FP32, keys="implicit = true\n")
    assert {cell.status for cell in partly.cells} == {"judged"}
    assert engine(partly).asked_ops == {"MatMul": 3}
    assert engine(partly).int8_macs == 16


def test_what_it_answered_before_its_account_was_known_doesnt_count(world: Path) -> None:
    path = audit(world, INT8, INT8, INT8)
    first, _ = run_audit(path)
    assert {cell.status for cell in first.cells} == {"judged"}
    (world / "account.json").write_text(account(dict.fromkeys(NODES, FP32)), encoding="utf-8")
    second, _ = run_audit(path)
    assert {cell.status for cell in second.cells} == {"failed"}


def test_engines_that_follow_the_graph_have_their_share_by_it(world: Path) -> None:
    report = ran(world, INT8, INT8, FP32, keys='agree_with = ["onnxruntime"]\n')
    cells = {cell.id: cell.engine for cell in report.cells}
    own = cells["both/minmax"]
    assert own is not None
    assert (own.proof, own.macs, own.int8_macs, own.uncounted) == (None, 64, 64, 0)
    single = cells["fp32"]
    assert single is not None
    assert (single.macs, single.int8_macs) == (64, 0)


def test_products_that_the_graph_leaves_in_float_are_named_and_counted(tmp_path: Path) -> None:
    report, _ = run_audit(chain_world(tmp_path, ONE_SET, third="Einsum"))
    for cell in report.cells:
        assert cell.engine is not None
        assert (cell.engine.macs, cell.engine.int8_macs) == (64, 48)
        (left,) = cell.engine.left_float
        assert (left.node, left.op_type, left.asked, left.got) == (
            "third", "Einsum", "fp32", "fp32"
        )  # fmt: skip
        assert (left.macs, left.reason) == (16, "TensorRT doesn't run it in INT8 from Q/DQ")
        assert cell.engine.not_as_asked == ()
    assert report.reference.engine.left_float == ()


def test_the_account_survives_the_file(world: Path) -> None:
    report = ran(world, INT8, INT8, FP32)
    assert read_report(world / "audit" / "report.json") == report
