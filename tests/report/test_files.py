import copy
import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calaudit.report.files import dump, read_report, write_report
from calaudit.results.document import inconsistencies, read_document, to_document, without_times
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, FileFormatError, Notice, OutputError
from tests.report.factory import (
    AGREEMENT,
    AUDIT,
    EXEMPLARS,
    RANKING,
    SAMPLE,
    report,
    reports,
    result,
)

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(reports())
def test_what_is_written_is_read_back_equal(made: Report) -> None:
    text = dump(to_document(made))
    assert read_document(json.loads(text, parse_constant=pytest.fail), where="r") == made
    assert list(inconsistencies(made, where="r")) == []


def test_a_file_is_read_back_equal(tmp_path: Path) -> None:
    made = report(warnings=(Notice("stratum_short", "3 samples short", "calibset equal"),))
    write_report(made, tmp_path / "sub" / "report.json")
    assert read_report(tmp_path / "sub" / "report.json") == made
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["report.json"]


def test_top_level_keys_are_those_promised() -> None:
    document = to_document(report())
    promised = [
        "calaudit_format", "format_version", "calaudit_version", "created", "verdict", "audit",
        "metrics", "reference", "calibsets", "cells", "slices", "results", "ranking_flow",
        "exemplars", "pictures", "attribution", "gaps", "screening", "agreement", "compared_ranges",
        "harm", "explanations", "recommendation", "bench", "warnings", "timings",
    ]  # fmt: skip
    assert list(document) == promised
    assert document["calaudit_format"] == "report"
    assert document["results"][2]["gate"] == {
        "max_drop": 0.02, "max_relative_drop": None, "min_reference": None,
    }  # fmt: skip


def test_bytes_do_not_depend_on_the_order_results_came_in() -> None:
    shuffled = SAMPLE.copy()
    random.Random(3).shuffle(shuffled)
    notices = (Notice("b", "x"), Notice("a", "y"), Notice("a", "x", "w"), Notice("a", "x"))
    one = dump(to_document(report(warnings=notices)))
    other = report(shuffled, slices=report().slices, warnings=notices[::-1] + notices)
    assert one == dump(to_document(other))


def test_bytes_do_not_depend_on_hash_seed_or_mapping_order() -> None:
    code = (
        "from tests.report.factory import *; from calaudit.results.document import to_document\n"
        "from calaudit.report.files import dump\n"
        "made = report(); config = {k: {'y', 'x', 'z'} for k in set('abcdef')}\n"
        "print(dump(to_document(replace(made, audit=replace(AUDIT, config=config)))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_equal_runs_differ_only_in_their_times() -> None:
    made = report()
    later = replace(made, created=datetime(2027, 1, 1, tzinfo=UTC).isoformat(), timings={"x": 1.0})
    documents = to_document(made), to_document(later)
    assert documents[0] != documents[1]
    assert without_times(documents[0]) == without_times(documents[1])
    other = to_document(replace(made, audit=replace(AUDIT, seed=1)))
    assert without_times(other) != without_times(documents[0])


def test_floats_are_written_to_the_last_bit() -> None:
    made = report([replace(SAMPLE[0], drop=0.1 + 0.2)])
    assert '"drop": 0.30000000000000004' in dump(to_document(made))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [lambda n: n, lambda n: [n, 1], lambda n: {"a": {"b": n}}])
def test_what_json_has_no_number_for_is_refused(number: float, place: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dump(place(number))


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_text_is_laid_out_as_pythons_own_and_holds_the_same(value: Any) -> None:
    text = dump(value)
    assert json.loads(text) == value
    expected = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    assert NUMBER.sub("0", text) == NUMBER.sub("0", expected)


def test_texts_that_look_like_what_json_lacks_are_written() -> None:
    texts = ["NaN", "a\nNaN", ": NaN,", "Infinity\n"]
    assert json.loads(dump(texts)) == texts


def test_a_file_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    odd = b"mod\xe9le.onnx".decode("utf-8", "surrogateescape")
    made = replace(report(), audit=replace(AUDIT, model=replace(AUDIT.model, name=odd)))
    write_report(made, tmp_path / "report.json")
    (tmp_path / "report.json").read_bytes().decode("utf-8")
    assert read_report(tmp_path / "report.json") == made


def refused(path: Path) -> FileFormatError:
    with pytest.raises(FileFormatError) as caught:
        read_report(path)
    return caught.value


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "there is no such file" in str(refused(tmp_path / "none.json"))
    assert "Is a directory" in str(refused(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "isn't JSON"),
        (b'{"calaudit_format": "report", "for', "isn't JSON"),
        (b"\x89HDF\r\n", "isn't JSON"),
        (b'{"calaudit_format": NaN}', "NaN isn't a JSON number"),
        (b"[" * 100_000, "isn't JSON"),
        (b"[]", "isn't a calaudit report: no calaudit_format in it"),
        (b'{"calaudit_format": "pool"}', "calaudit_format is 'pool'"),
        (b'{"calaudit_format": "report"}', "format_version None can't be read"),
        (b'{"calaudit_format": "report", "format_version": 99}', "Known: 1, 2"),
        (b'{"calaudit_format": "report", "format_version": 1}', "the key 'audit' is missing"),
    ],
)
def test_foreign_and_broken_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    error = refused(path)
    assert message in str(error)
    assert str(path) in str(error)


def as_version_1(document: dict[str, Any]) -> dict[str, Any]:
    old = copy.deepcopy(document) | {"format_version": 1}
    for part in ("calibsets", "cells"):
        for each in old[part]:
            del each["role"]
    for each in old["results"]:
        if each["gate"] is not None:
            del each["gate"]["min_reference"]
    return old


def test_reports_of_version_1_are_read_as_all_candidates(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(as_version_1(to_document(report()))), encoding="utf-8")
    assert read_report(path) == report()


def test_a_report_of_version_1_that_passed_without_gates_is_read_as_inconclusive(
    tmp_path: Path,
) -> None:
    ungated = report([replace(each, gate=None) for each in SAMPLE])
    path = tmp_path / "report.json"
    old = as_version_1(to_document(ungated)) | {"verdict": "PASS"}
    path.write_text(json.dumps(old), encoding="utf-8")
    assert read_report(path) == ungated


def with_strangers(value: Any) -> Any:
    """The same document with a key in every object that no release has had."""
    if isinstance(value, dict):
        return {key: with_strangers(each) for key, each in value.items()} | {"stranger": [1]}
    return [with_strangers(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("version", [1, 2])
def test_keys_that_no_release_knows_are_ignored(tmp_path: Path, version: int) -> None:
    """A later release, or whoever adds to a report, mustn't make it unreadable."""
    made = report(ranking_flow=(RANKING,), exemplars=(EXEMPLARS,), agreement=(AGREEMENT,))
    document = to_document(made)
    document = as_version_1(document) if version == 1 else document
    strange = {
        part: each if part in {"audit", "reference", "timings", "slices", "cells"} else
        with_strangers(each)
        for part, each in document.items()
    } | {"a new part": {"x": 1}}  # fmt: skip
    strange["audit"] = document["audit"] | {"stranger": None}
    strange["reference"] = document["reference"] | {"stranger": 1.5}
    strange["slices"] = [each | {"stranger": "x"} for each in document["slices"]]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(strange), encoding="utf-8")
    assert read_report(path) == made


def contradicted(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "report.json"
    document = to_document(report())
    for place, value in changes.items():
        name, number, key = place.split("__")
        document[name][int(number)][key] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(refused(path))


def test_names_that_point_nowhere_are_refused_with_near_ones(tmp_path: Path) -> None:
    message = contradicted(tmp_path, results__2__slice="noise >= 0.4", cells__0__calibset="claen")
    assert "results[2].slice: no slice is called 'noise >= 0.4'" in message
    assert "Did you mean noise ≥ 0.4" in message
    assert "cells[0].calibset: no calibset is called 'claen'\n  → Did you mean clean?" in message


def test_repeated_results_and_names_are_refused(tmp_path: Path) -> None:
    message = contradicted(tmp_path, results__1__slice="all", slices__2__name="all")
    assert "2 results for 'clean/minmax', 'all', 'top1'" in message
    assert "slices: 2 records are called 'all'" in message


def test_a_verdict_that_the_results_contradict_is_refused(tmp_path: Path) -> None:
    message = contradicted(tmp_path, results__2__verdict="PASS")
    assert "verdict: is REGRESSED, but the results make it INCONCLUSIVE" in message


def test_a_report_that_contradicts_itself_is_not_written(tmp_path: Path) -> None:
    for broken in (
        report([result("nowhere", "all", 0.0, "PASS")]),
        replace(report(), created="yesterday"),
    ):
        with pytest.raises(FileFormatError):
            write_report(broken, tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        write_report(report(), tmp_path / "file" / "report.json")
    assert isinstance(caught.value, CalauditError)
