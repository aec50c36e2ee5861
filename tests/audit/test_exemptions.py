"""Products left in float as an axis of an audit: judged as any candidate, named and counted."""

import html
import re
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from calaudit.audit.config import read_audit
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.cli.app import app
from calaudit.formats.ranges import open_ranges
from calaudit.report.files import read_report
from calaudit.report.harm import harm_rows, whole_cells
from calaudit.report.headline import headline
from calaudit.report.html.page import html_page
from calaudit.report.html.taps import make_taps
from calaudit.report.index import Index
from calaudit.report.junit import junit_xml
from calaudit.report.markdown import markdown_summary
from calaudit.report.prometheus import prometheus_text
from calaudit.report.terminal import render_report
from calaudit.results.audited import CellRecord
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, SettingsError
from tests.audit.choosing import account, choosing
from tests.audit.exempting import AUDIT, BODY_MACS, HEAD, HEAD_MACS, head_world

PLAIN, EXEMPT = "both/minmax", "both/minmax+head"
EVERYWHERE = AUDIT.replace("methods", 'float_ops = ["/head/fc/Gemm"]\nmethods')


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    path = head_world(tmp_path_factory.mktemp("exempt"), AUDIT + HEAD)
    report, _ = run_audit(path)
    return path.with_suffix(""), report


def cells(report: Report) -> dict[str, CellRecord]:
    return {cell.id: cell for cell in report.cells}


def verdicts(report: Report, cell: str) -> set[str | None]:
    return {one.verdict for one in report.results if one.cell == cell and one.metric == "top1"}


def test_the_head_in_float_passes_the_gates_that_the_whole_in_int8_fails(
    finished: tuple[Path, Report],
) -> None:
    _, report = finished
    assert list(cells(report)) == [PLAIN, EXEMPT]
    assert verdicts(report, PLAIN) == {"REGRESSED"}
    assert verdicts(report, EXEMPT) == {"PASS"}
    assert report.verdict == "REGRESSED"
    assert cells(report)[EXEMPT].exemption == "head"
    assert cells(report)[PLAIN].exemption is None


def test_what_is_left_in_float_is_named_with_its_cost_and_not_short(
    finished: tuple[Path, Report],
) -> None:
    folder, report = finished
    engine, plain = cells(report)[EXEMPT].engine, cells(report)[PLAIN].engine
    assert engine is not None
    assert plain is not None
    assert engine.exempt == ("/head/fc/Gemm",)
    assert (engine.exempt_macs, engine.int8_macs) == (HEAD_MACS, BODY_MACS)
    assert engine.macs == plain.int8_macs == HEAD_MACS + BODY_MACS
    (left,) = engine.left_float
    assert (left.node, left.reason, left.macs) == (
        "/head/fc/Gemm", "left in float as asked", HEAD_MACS
    )  # fmt: skip
    assert engine.not_as_asked == plain.left_float == ()
    assert (plain.exempt, plain.exempt_macs) == ((), None)
    assert read_report(folder / "report.json") == report


def test_the_engine_on_disk_leaves_the_head_alone(finished: tuple[Path, Report]) -> None:
    folder, report = finished
    read = {}
    for name, cell in cells(report).items():
        proto = onnx.load(str(folder / str(cell.file)))
        onnx.checker.check_model(proto, full_check=True)
        read[name] = {node.name: list(node.input)[:2] for node in proto.graph.node}
    assert read[EXEMPT]["/head/fc/Gemm"] == ["m", "w2"]
    assert read[PLAIN]["/head/fc/Gemm"] == ["m_dequantized", "w2_dequantized"]
    assert read[EXEMPT]["/body/fc/Gemm"] == read[PLAIN]["/body/fc/Gemm"]


def test_what_isnt_rounded_is_predicted_to_do_no_harm(finished: tuple[Path, Report]) -> None:
    _, report = finished
    assert report.harm is not None
    harm = {one.cell: one for one in report.harm.cells}
    assert {tap.tap for tap in harm[PLAIN].taps} == {"x", "m"}
    assert {tap.tap for tap in harm[EXEMPT].taps} == {"x"}


def test_every_form_names_the_cell_and_what_it_leaves_in_float(
    finished: tuple[Path, Report],
) -> None:
    _, report = finished
    share = 100 * HEAD_MACS / (HEAD_MACS + BODY_MACS)
    told = f"1 product left in float as asked ({share:.3g} % of MACs)"
    forms = {
        "terminal": render_report(report, width=200),
        "page": html.unescape(html_page(report)),
        "markdown": markdown_summary(report),
        "junit": junit_xml(report),
    }
    for name, text in forms.items():
        assert "minmax+head" in text, name
        assert told in " ".join(text.split()), name
    assert re.search(
        r'calaudit_macs_left_in_float\{.*method="minmax\+head".*\} 64\.0', prometheus_text(report)
    )
    assert "with minmax+head only" not in headline(report)


def test_a_second_run_makes_nothing_anew(finished: tuple[Path, Report]) -> None:
    folder, first = finished
    made = [*folder.glob("engines/*"), *folder.glob("predictions/*"), *folder.glob("ranges/*")]
    times = {path: path.stat().st_mtime_ns for path in made}
    again, _ = run_audit(folder.with_suffix(".toml"))
    assert len(times) > 5
    assert {path: path.stat().st_mtime_ns for path in made} == times
    assert again.results == first.results


def test_ranges_that_engines_with_and_without_it_share_are_shown_once(
    finished: tuple[Path, Report],
) -> None:
    folder, report = finished
    taps = make_taps(report, open_ranges(folder / "ranges" / str(report.audit.ranges)))
    assert taps is not None
    assert taps.cells == (("both", "minmax"),)


def test_float_ops_of_the_audit_hold_for_every_engine_under_its_plain_name(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    report, _ = run_audit(head_world(tmp_path, EVERYWHERE))
    assert list(cells(report)) == [PLAIN]
    assert report.verdict == "PASS"
    (cell,) = report.cells
    assert cell.exemption is None
    assert cell.engine is not None
    assert cell.engine.exempt == ("/head/fc/Gemm",)
    same = [one.drop for one in finished[1].results if one.cell == EXEMPT]
    assert [one.drop for one in report.results] == same


def keys(path: Path) -> dict[str, str]:
    with prepared_audit(path, Overrides()) as audit:
        return {cell.id: cell.predictions.name for cell in audit.plan.cells}


def test_exemptions_change_their_own_cells_alone(tmp_path: Path) -> None:
    plain = keys(head_world(tmp_path))
    assert keys(head_world(tmp_path, AUDIT + HEAD))[PLAIN] == plain[PLAIN]
    other = HEAD.replace("/head/*", "/body/*")
    found = [keys(head_world(tmp_path, AUDIT + each))[EXEMPT] for each in (HEAD, other)]
    assert len({*found, plain[PLAIN]}) == 3
    assert keys(head_world(tmp_path, EVERYWHERE))[PLAIN] != plain[PLAIN]


def test_exemptions_come_behind_each_method_and_before_the_target(tmp_path: Path) -> None:
    text = AUDIT.replace('["minmax"]', '["minmax", "mse"]\nagree_with = ["fused"]') + HEAD
    target = '\n[[targets]]\nname = "fused"\nbackend = "onnxruntime"\nkernels = "fused"\n'
    report, _ = run_audit(head_world(tmp_path, text + target))
    own = [PLAIN, EXEMPT, "both/mse", "both/mse+head"]
    assert list(cells(report)) == [*own, "fp32/fused", *(f"{name}/fused" for name in own)]
    twins = {one.cell: one.other for one in report.agreement}
    assert twins["both/mse+head/fused"] == "both/mse+head"
    assert {one.method for one in report.attribution} <= {
        "minmax", "mse", "minmax+head", "mse+head"
    }  # fmt: skip


def test_an_exemption_may_be_for_some_sets_and_decide_where_the_plain_engine_doesnt(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    other = '\n[[calibsets]]\nname = "other"\nsize = 60\n'
    text = AUDIT.replace('name = "both"', 'name = "both"\nrole = "control"')
    table = finished[0] / str(cells(finished[1])[PLAIN].scales)
    given = f'\n[[scales]]\nname = "kept"\nfile = "{table}"\nrole = "control"\n'
    head = HEAD + 'sets = ["both", "kept"]\nrole = "candidate"\n'
    report, _ = run_audit(
        head_world(tmp_path, text + other.replace("size", 'role = "control"\nsize') + given + head)
    )
    assert {name: cell.role for name, cell in cells(report).items()} == {
        PLAIN: "control",
        EXEMPT: "candidate",
        "other/minmax": "control",
        "kept/given": "control",
        "kept/given+head": "candidate",
    }
    assert report.verdict == "PASS"
    drops = {
        name: [one.drop for one in report.results if one.cell == name]
        for name in (EXEMPT, "kept/given+head")
    }
    assert drops["kept/given+head"] == drops[EXEMPT], "the same ranges, and the same exemption"


@pytest.mark.parametrize("ways", ["explicit", "implicit"])
def test_predicted_engines_leave_it_in_float_too(tmp_path: Path, ways: str) -> None:
    text = AUDIT.replace("methods", f'int8 = "{ways}"\nmethods') + HEAD
    report, _ = run_audit(head_world(tmp_path, text))
    plain, exempt = (cells(report)[name].engine for name in (PLAIN, EXEMPT))
    assert plain is not None
    assert exempt is not None
    assert plain.quantized_ops == {"Gemm": 2}
    assert exempt.quantized_ops == exempt.asked_ops == {"Gemm": 1}
    assert [node.reason for node in exempt.left_float] == ["left in float as asked"]
    assert exempt.not_as_asked == ()
    assert verdicts(report, EXEMPT) == {"PASS"}


def test_a_backend_that_ignores_it_has_no_engine_under_that_name(tmp_path: Path) -> None:
    """This backend asks INT8 of every product of an FP32 graph, whatever it is told."""
    with choosing(tmp_path):
        told = tmp_path / "account.json"
        int8 = "Row major Int8 format"
        told.write_text(account({"/body/fc/Gemm": int8, "/head/fc/Gemm": int8}), encoding="utf-8")
        own = f'backend = "choosing"\nimplicit = true\naccount = "{told}"\nmethods'
        report, _ = run_audit(head_world(tmp_path / "w", AUDIT.replace("methods", own) + HEAD))
    failed = cells(report)[f"{EXEMPT}/choosing"]
    assert cells(report)[f"{PLAIN}/choosing"].status == "judged"
    assert failed.status == "failed"
    assert "INT8 is requested of Gemm /head/fc/Gemm" in str(failed.reason)


def problems(folder: Path, text: str) -> str:
    path = head_world(folder, text)
    with pytest.raises(CalauditError) as caught, prepared_audit(path, Overrides()):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD.replace("/head/*", "/heat/*"), "exemptions[0].float_ops: '/heat/*' names no"),
        (HEAD.replace("/head/*", "/body/relu"), "the node of that name is a Relu"),
        (HEAD.replace("/head/*", "*"), "leaves no product in INT8"),
        (HEAD.replace('"head"', '"a/b"'), "name must be a text without / and +"),
        (HEAD.replace('["/head/*"]', "[]"), "float_ops is empty"),
        (HEAD + HEAD, "two exemptions are called 'head'"),
        (HEAD + 'sets = ["bot"]', "no calibration set or ranges are called 'bot'"),
        (HEAD.replace("float_ops", "ops"), "unknown key"),
    ],
)
def test_exemptions_that_make_no_sense_are_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in problems(tmp_path, AUDIT + text)


def test_near_names_and_a_command_that_lists_the_rest_are_offered(tmp_path: Path) -> None:
    told = problems(tmp_path, EVERYWHERE.replace("/head/fc/Gemm", "/head/fc/Gem"))
    assert "audit.float_ops: '/head/fc/Gem' names no convolution" in told
    assert "Did you mean /head/fc/Gemm" in told
    model = re.search(r"calaudit build (\S+) --explain", told)
    assert model is not None
    shown = CliRunner().invoke(app, ["build", model[1], "--explain"]).stdout
    assert "/head/fc/Gemm" in shown


def test_audits_without_int8_have_nothing_to_leave_in_float(tmp_path: Path) -> None:
    text = EVERYWHERE.replace("methods", 'precisions = ["fp16"]\nmethods')
    path = head_world(tmp_path, text)
    with pytest.raises(SettingsError, match="precisions doesn't name int8"):
        read_audit(path)


@pytest.mark.parametrize("audit", [AUDIT + HEAD, EVERYWHERE], ids=["exemption", "everywhere"])
def test_no_engine_is_below_the_least_and_the_bound_of_its_own_taps(
    tmp_path: Path, audit: str
) -> None:
    report, _ = run_audit(head_world(tmp_path, audit), formats="none")
    record, index = report.harm, Index(report)
    assert record is not None
    assert record.taps == (2 if audit.endswith(HEAD) else 1)
    for each in whole_cells(index, record):
        assert record.bound is not None
        assert max(each.total) >= record.bound
        assert all(one.least <= total for one, total in zip(record.slices, each.total, strict=True))
    assert [each.cell for each in whole_cells(index, record)] == [PLAIN]
    for row in harm_rows(index, {one.slice for one in record.slices}):
        assert row.least <= row.best_harm
        assert row.best == PLAIN
