"""Files that earlier releases wrote are read: an audit of one small world, by each version."""

import json
from pathlib import Path

import pytest

from calaudit.report.files import read_report, write_report
from calaudit.report.terminal import render_report
from calaudit.results.document import FORMAT_VERSION, READABLE, to_document
from calaudit.results.drops import Finding
from calaudit.results.report import exit_status
from calaudit.runtime.errors import FileFormatError

SAMPLES = Path(__file__).parent / "samples"


def sample(version: int) -> Path:
    """Written by a release of that format, but for platform and CPU."""
    return SAMPLES / f"version_{version}.json"


def test_there_is_a_sample_of_every_version_that_can_be_read() -> None:
    assert [json.loads(sample(v).read_text("utf-8"))["format_version"] for v in READABLE] == [
        *READABLE
    ]


@pytest.mark.parametrize("version", READABLE)
def test_every_version_is_read_and_written_again_as_this_one(tmp_path: Path, version: int) -> None:
    report = read_report(sample(version))
    assert (exit_status(report), len(report.cells)) == (1, 4 if version < 3 else 5)
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document["format_version"] == FORMAT_VERSION
    assert "REGRESSED" in render_report(report)


@pytest.mark.parametrize("version", READABLE)
def test_every_value_that_was_written_is_kept(version: int) -> None:
    """Version 1 told one finding; nothing else was renamed since."""
    old = json.loads(sample(version).read_text(encoding="utf-8"))
    new = to_document(read_report(sample(version)))
    kept = dict(leaves(new))
    lost = [
        place
        for place, value in leaves(old)
        if place != ("format_version",)
        and place[-1] != "finding"
        and kept.get(place, "nothing") != value
    ]
    assert lost == []
    if version == 1:
        told = [each["finding"] for each in old["attribution"]]
        assert [each["findings"] for each in new["attribution"]] == [
            [] if each is None else [each] for each in told
        ]
        assert any(told)


def leaves(
    value: object, place: tuple[object, ...] = ()
) -> list[tuple[tuple[object, ...], object]]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*place, key))]
    if isinstance(value, list) and value:
        return [leaf for i, each in enumerate(value) for leaf in leaves(each, (*place, i))]
    return [(place, value)]


def test_what_version_1_didnt_tell_is_unknown() -> None:
    report = read_report(sample(1))
    assert {each.role for each in (*report.calibsets, *report.cells)} == {"candidate"}
    assert {each.joint_low for each in report.results} == {None}
    assert {each.gate.min_reference for each in report.results if each.gate} == {None}
    assert {each.p_price for each in report.attribution} == {None}
    assert all(isinstance(f, Finding) for each in report.attribution for f in each.findings)


def test_engines_made_elsewhere_are_told_since_version_3() -> None:
    told = [each.foreign for each in read_report(sample(3)).cells]
    assert [each and each.kind for each in told] == [None] * 4 + ["answers"]
    assert {each.foreign for each in read_report(sample(2)).cells} == {None}


@pytest.mark.parametrize("version", [0, 4, "2", None, 2.5])
def test_an_unknown_version_is_refused_with_those_that_are_known(
    tmp_path: Path, version: object
) -> None:
    document = json.loads(sample(2).read_text(encoding="utf-8")) | {"format_version": version}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(FileFormatError) as caught:
        read_report(path)
    assert f"format_version {version!r} can't be read by this release" in str(caught.value)
    assert "Known: 1, 2, 3. Update calaudit, or run the audit again." in str(caught.value)
