"""What every form of the report keeps to, the built-in ones and those of other packages alike."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from calaudit.report.files import read_report, write_report
from calaudit.report.forms import FORMS, Evidence, Form, form_path, parse_forms, write_forms
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice, OutputError, SettingsError
from tests.packages import installed, package_of
from tests.report.factory import SAMPLE, report
from tests.report.hostile import hostile_report

USUAL = ("html", "junit", "markdown", "prometheus")
ASKED = ("json", "svg", "text")
MEMBERS = sorted([*USUAL, *ASKED, "csv"])


@pytest.fixture(autouse=True)
def _no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting the chart library together takes seconds."""
    monkeypatch.setattr("calaudit.report.html.page.chart_library", lambda: "")


@pytest.fixture(autouse=True)
def _example(example_package: object) -> None:
    """The example package's form is a member too."""


def test_every_form_is_held_to_what_follows() -> None:
    assert list(FORMS.names()) == MEMBERS


@pytest.mark.parametrize("name", MEMBERS)
def test_a_form_keeps_the_contract(name: str, tmp_path: Path) -> None:
    form = FORMS.load(name)
    assert isinstance(form, Form)
    assert form.in_all == (name not in ASKED)
    for number, made in enumerate((report(), hostile_report(), report(SAMPLE[:1]))):
        folder = tmp_path / str(number)
        first = write_forms(made, folder, [name])
        assert first == [form_path(folder, name)]
        assert [path.name for path in folder.iterdir()] == [form.file_name]
        written = first[0].read_bytes()
        assert written.decode("utf-8").strip()
        # an older file gives way, and the same report gives the same bytes
        first[0].write_text("older")
        write_forms(made, folder, [name], evidence=Evidence())
        assert first[0].read_bytes() == written
    assert (tmp_path / "0" / form.file_name).read_bytes() != (
        tmp_path / "1" / form.file_name
    ).read_bytes()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_form_that_fails_leaves_no_part_and_the_older_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMS.load(name)

    def failing(made: Report, evidence: Evidence, path: Path) -> None:
        form.write(made, evidence, path)
        path.write_bytes(path.read_bytes()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(FORMS), "load", lambda *_, **__: replace(form, write=failing))
    (tmp_path / form.file_name).write_text("older")
    with pytest.raises(OutputError, match="No space left on device"):
        write_forms(report(), tmp_path, [name])
    assert [path.name for path in tmp_path.iterdir()] == [form.file_name]
    assert (tmp_path / form.file_name).read_text() == "older"


@pytest.mark.parametrize("name", MEMBERS)
def test_a_folder_that_cannot_be_made_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_forms(report(), tmp_path / "file", [name])


def test_another_packages_form_is_written_with_the_usual_ones(tmp_path: Path) -> None:
    assert parse_forms("all", where="--formats") == ("csv", *USUAL)
    (path,) = write_forms(report(), tmp_path, ["csv"])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["slice"] for row in rows] == [each.slice for each in report().results]
    assert float(rows[0]["drop"]) == report().results[0].drop


def package(folder: Path, entries: str, module: str) -> Path:
    folder.mkdir()
    (folder / "odd_forms.py").write_text(
        "from calaudit.report.forms import Form\n"
        f"def broken(*_):\n    raise KeyError('no such row')\n{module}\n"
    )
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "odd"\nversion = "1"\n'
        f'[project.entry-points."calaudit.forms"]\n{entries}\n'
    )
    return folder


def test_another_packages_form_that_breaks_is_named_with_its_line(tmp_path: Path) -> None:
    odd = package(tmp_path / "odd", 'odd = "odd_forms:ODD"', "ODD = Form('odd.txt', broken)")
    with (
        installed(odd, tmp_path / "metadata"),
        pytest.raises(OutputError, match="form odd of the package odd failed") as caught,
    ):
        write_forms(report(), tmp_path / "out", ["odd"])
    assert "odd_forms.py, line 3): KeyError: 'no such row'" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("pass", "wrote nothing into the file that it was given"),
        ("path.unlink(); path.mkdir(); (path / 'a').write_text('a')", "made a folder where it was"),
        ("path.unlink()", "removed the file that it was given"),
        ("path.unlink(); path.symlink_to('elsewhere')", "or put something else there"),
    ],
)
def test_a_form_that_leaves_no_file_is_named_and_nothing_stays(
    tmp_path: Path, body: str, told: str
) -> None:
    module = f"def odd(report, evidence, path):\n    {body}\nODD = Form('odd.txt', odd)\n"
    odd = package(tmp_path / "odd", 'odd = "odd_forms:ODD"', module)
    with (
        installed(odd, tmp_path / "metadata"),
        pytest.raises(OutputError, match=f"the form odd of the package odd .*{told}") as caught,
    ):
        write_forms(report(), tmp_path / "out", ["odd"])
    assert caught.value.problems[0].where == str(tmp_path / "out" / "odd.txt")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("junit.xml", "odd and junit both write junit.xml|junit and odd both write junit.xml"),
        ("report.json", "odd and the report itself both write report.json"),
        ("../up.txt", "which is no file's name"),
    ],
)
def test_two_forms_never_write_the_same_file_nor_one_elsewhere(
    file: str, message: str, tmp_path: Path
) -> None:
    odd = package(tmp_path / "odd", 'odd = "odd_forms:ODD"', f"ODD = Form({file!r}, broken)")
    with (
        installed(odd, tmp_path / "metadata"),
        pytest.raises(SettingsError, match=message),
    ):
        parse_forms("odd,junit", where="--formats")


def test_the_json_form_writes_an_older_report_as_this_release_has_it(tmp_path: Path) -> None:
    write_report(report(), tmp_path / "report.json")
    (path,) = write_forms(read_report(tmp_path / "report.json"), tmp_path / "new", ["json"])
    assert path.read_bytes() == (tmp_path / "report.json").read_bytes()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ("csv", *USUAL)),
        ("none", ()),
        ("html,all", ("csv", *USUAL)),
        ("svg,all", ("csv", *USUAL, "svg")),
        ("junit, html,junit", ("junit", "html")),
    ],
)
def test_forms_are_named_in_a_list(text: str, names: tuple[str, ...]) -> None:
    assert parse_forms(text, where="--formats") == names


@pytest.mark.parametrize("text", ["htm", "", "none,html", "html junit"])
def test_unknown_forms_are_refused_with_near_ones(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_forms(text, where="--formats")
    assert "--formats: " in str(caught.value)
    assert caught.value.problems[0].next_step


def test_a_form_of_another_type_is_left_out_of_all_and_refused_by_name(tmp_path: Path) -> None:
    made = package_of(tmp_path / "odd", "odd", {"calaudit.forms": {"mine": "FORM"}}, "FORM = 3\n")
    told: list[Notice] = []
    with installed(made, tmp_path / "metadata"):
        assert "html" in parse_forms("all", where="--formats", tell=told.append)
        assert parse_forms("json", where="--formats") == ("json",)
        with pytest.raises(SettingsError, match="of the package odd is int"):
            parse_forms("mine", where="--formats")
    (notice,) = told
    assert "the form mine is left out" in notice.message
    assert "package odd" in notice.message


def test_a_form_that_calaudit_has_too_stops_who_asks_for_it_and_no_help(tmp_path: Path) -> None:
    made = package_of(tmp_path / "odd", "odd", {"calaudit.forms": {"html": "FORM"}}, "FORM = 3\n")
    with installed(made, tmp_path / "metadata") as environment:
        assert parse_forms("json", where="--formats") == ("json",)
        for asked in ("html", "all"):
            with pytest.raises(SettingsError, match="calaudit and odd both offer") as error:
                parse_forms(asked, where="--formats")
            assert len(error.value.problems) == 1
            assert "Uninstall odd, or rename html" in str(error.value)
        for command in (["compare"], ["report", "render"]):
            code = "from calaudit.cli import main; main()"
            subprocess.run(
                [sys.executable, "-c", code, *command, "--help"],
                env=dict(environment),
                capture_output=True,
                check=True,
            )
