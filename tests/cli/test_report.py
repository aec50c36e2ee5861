import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from calaudit.cli import main
from calaudit.report.files import write_report
from tests.report.factory import report, result

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        named = arguments if arguments[0] == "render" else ("show", *arguments)
        monkeypatch.setattr(sys, "argv", ["calaudit", "report", *map(str, named)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return command


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the chart library together takes seconds."""
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_report(report(), tmp_path / "report.json")
    return tmp_path / "report.json"


@pytest.mark.parametrize(
    ("verdict", "status"), [("PASS", 0), ("REGRESSED", 1), ("INCONCLUSIVE", 3)]
)
def test_exit_status_is_the_reports_verdict(
    run: Run, tmp_path: Path, verdict: str, status: int
) -> None:
    write_report(report([result("clean/minmax", "all", 0.0, verdict)]), tmp_path / "r.json")
    code, out, err = run(tmp_path / "r.json")
    assert (code, err) == (status, "")
    assert f"Verdict: {verdict}" in out


def test_slices_limit_and_all_choose_the_rows(run: Run, path: Path) -> None:
    _, out, _ = run(path, "--slices", "noise ≥*", "--limit", 1)
    assert "noise < 0.4" not in out
    assert "… and 1 more finding" in out
    _, out, _ = run(path, "--all", "--limit", 1)
    assert out.count("noise < 0.4") == 4 + 2
    assert "[4.8–7.4]✗" in out


def test_json_is_the_report_to_the_byte(run: Run, path: Path) -> None:
    code, out, err = run(path, "--json")
    assert (code, err) == (1, "")
    assert out == path.read_text(encoding="utf-8")


def test_a_folder_stands_for_the_report_in_it(run: Run, path: Path) -> None:
    assert run(path.parent) == run(path)
    assert run("render", path.parent, "--formats", "markdown")[0] == 0
    assert (path.parent / "summary.md").is_file()


@pytest.mark.usefixtures("no_library")
def test_all_forms_are_rendered_again_beside_the_report(run: Run, path: Path) -> None:
    code, out, err = run("render", path)
    assert (code, out) == (0, "")
    names = ["report.html", "junit.xml", "summary.md", "metrics.prom"]
    assert err.splitlines() == [f"wrote {path.parent / name}" for name in names]
    first = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert sorted(first) == sorted([*names, "report.json"])
    run("render", path)
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == first


def test_chosen_forms_are_rendered_into_a_folder(run: Run, path: Path, tmp_path: Path) -> None:
    code, _, _ = run("render", path, "--formats", "markdown,junit", "--out", tmp_path / "new" / "x")
    assert code == 0
    assert sorted(each.name for each in (tmp_path / "new" / "x").iterdir()) == [
        "junit.xml", "summary.md",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "there is no such file"),
        (["report.json", "--formats", "htlm"], "Did you mean html?"),
        (["report.json", "--ranges", "report.json"], "report.json"),
        (["report.json", "--out", "report.json/x"], "can't be written"),
    ],
)
@pytest.mark.usefixtures("no_library")
def test_what_cannot_be_rendered_ends_with_2_and_writes_nothing(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(path.parent)
    code, out, err = run("render", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert [each.name for each in path.parent.iterdir()] == ["report.json"]


def test_svg_is_written_beside_the_tables(run: Run, path: Path, tmp_path: Path) -> None:
    code, out, err = run(path, "--svg", tmp_path / "out.svg")
    assert code == 1
    assert "Worst slices first" in out
    assert err == f"wrote {tmp_path / 'out.svg'}\n"
    assert (tmp_path / "out.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "there is no such file"),
        (["report.json", "--slices", "noize"], "no slice matches 'noize'"),
        (["report.json", "--svg", "report.json/x.svg"], "can't be written"),
        (["report.json", "--limit", "0"], "--limit"),
    ],
)
def test_bad_input_ends_with_2_and_prints_no_table(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(path.parent)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert [each.name for each in path.parent.iterdir()] == ["report.json"]


def test_a_broken_report_names_the_place(run: Run, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"PASS"', '"PAS"', 1), encoding="utf-8")
    code, _, err = run(path)
    assert code == 2
    assert f"calaudit: error: {path}: results[0].verdict: 'PAS' isn't one of the values" in err
    assert "→ Did you mean PASS?" in err
