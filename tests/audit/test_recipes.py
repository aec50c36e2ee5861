"""Audits draw by any kind of recipe: ids of a list, and kinds that other packages add."""

from pathlib import Path

import numpy as np
import pytest

from calaudit.audit.run import run_audit
from calaudit.formats.calibset import open_calibset
from calaudit.formats.pool import open_pool
from calaudit.report.files import read_report
from calaudit.runtime.errors import CalauditError, DrawError, SettingsError
from tests.audit.world import AUDIT, make_world

HEAD = AUDIT[: AUDIT.index("[[calibsets]]")].replace("batch_size = 100", "replicates = 2")
REST = AUDIT[AUDIT.index("[[tasks]]") :]
LISTED = f"""{HEAD}
[[calibsets]]
name = "theirs"
kind = "ids"
ids = "lists/theirs.txt"
{REST}"""
SYSTEMATIC = f"""{HEAD}
[[calibsets]]
name = "every n-th"
kind = "systematic"
size = 30
{REST}"""


def candidates(folder: Path) -> list[str]:
    with open_pool(folder / "pool.h5") as pool:
        split = pool.columns(["split"])["split"].to_list()
        return [
            one
            for one, part in zip(pool.ids(np.arange(len(pool))), split, strict=True)
            if part == "calibration"
        ]


def write_list(folder: Path, ids: list[str]) -> None:
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists" / "theirs.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")


def sets(audit: Path) -> list[Path]:
    return sorted((audit.with_suffix("") / "calibsets").glob("*.h5"))


def test_a_list_of_ids_is_drawn_once_and_drawn_again_when_it_changes(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=LISTED, n=400)
    known = candidates(tmp_path)
    write_list(tmp_path, known[40:10:-1])
    report, path = run_audit(audit, formats="none")
    (record,) = report.calibsets
    assert (record.kind, record.method, record.size) == ("ids", "ids, 30 given", 30)
    assert [each.code for each in report.warnings if each.code == "drawn_once"] == ["drawn_once"]
    assert read_report(path) == report
    (made,) = sets(audit)
    assert sorted(open_calibset(made).ids.tolist()) == sorted(known[11:41])

    write_list(tmp_path, known[:30])
    run_audit(audit, formats="none")
    (other,) = set(sets(audit)) - {made}
    assert sorted(open_calibset(other).ids.tolist()) == sorted(known[:30])


def test_listed_ids_that_are_evaluated_or_unknown_are_refused_before_any_work(
    tmp_path: Path,
) -> None:
    audit = make_world(tmp_path, audit=LISTED, n=400)
    with open_pool(tmp_path / "pool.h5") as pool:
        evaluated = sorted(set(pool.ids(np.arange(len(pool)))) - set(candidates(tmp_path)))
    write_list(tmp_path, [*candidates(tmp_path)[:5], evaluated[0], "nobody"])
    with pytest.raises(DrawError, match="2 ids of 7 are not among") as caught:
        run_audit(audit)
    assert f"{audit}: calibsets: theirs" in str(caught.value)
    assert not audit.with_suffix("").exists()


@pytest.mark.usefixtures("example_package")
def test_another_packages_kind_is_drawn_reported_and_resumed(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=SYSTEMATIC, n=400)
    report, path = run_audit(audit, formats="none")
    assert [each.kind for each in report.calibsets] == ["systematic", "systematic"]
    assert report.calibsets[0].method == "systematic, from a random start"
    assert read_report(path) == report
    before = {each: each.stat().st_mtime_ns for each in sets(audit)}
    assert len(before) == 2
    run_audit(audit, formats="none")
    assert {each: each.stat().st_mtime_ns for each in sets(audit)} == before


def test_a_kind_that_no_package_offers_is_refused_at_its_place(tmp_path: Path) -> None:
    audit = make_world(tmp_path, audit=SYSTEMATIC, n=400)
    with pytest.raises(SettingsError, match="there is no kind of recipe 'systematic'") as caught:
        run_audit(audit)
    assert f"{audit}: calibsets[0].kind" in str(caught.value)


def test_what_is_wrong_in_a_recipe_file_names_the_audits_set_and_the_list(tmp_path: Path) -> None:
    audit = make_world(tmp_path, n=400)
    (tmp_path / "ids.txt").write_text("7\n7\n")
    (tmp_path / "given.toml").write_text('name = "given"\nkind = "ids"\nids = "ids.txt"\n')
    text = audit.read_text()
    audit.write_text(text.replace("[[tasks]]", '[[calibsets]]\nrecipe = "given.toml"\n[[tasks]]'))
    with pytest.raises(CalauditError, match="ids occur more than once: '7'") as caught:
        run_audit(audit)
    place = f"{audit}: calibsets[2]: {tmp_path / 'given.toml'}: {tmp_path / 'ids.txt'}: "
    assert str(caught.value).startswith(place)
