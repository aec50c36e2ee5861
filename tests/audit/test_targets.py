"""Audits on several targets: how the file names them, and what becomes of each."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from calaudit.audit.config import AuditConfig, read_audit
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.audit.store import take_inventory
from calaudit.report.files import read_report
from calaudit.report.findings import attribution_sentences, harmed_slices
from calaudit.report.headline import headline
from calaudit.report.index import Index
from calaudit.report.targets import target_rows
from calaudit.results.report import Report
from calaudit.runtime.errors import BackendError, Problem, SettingsError
from tests.audit.fake_worker import fake_backend
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit

AUDITS = Path(__file__).parents[2] / "audits"
KERNELS = """
[[targets]]
name = "fused"
backend = "onnxruntime"
kernels = "fused"

[[targets]]
name = "one thread"
backend = "onnxruntime"
threads = 1
""".replace("one thread", "one-thread")


def with_targets(keys: str, tables: str = KERNELS) -> str:
    return AUDIT.replace("batch_size", f"{keys}\nbatch_size", 1) + tables


def read(folder: Path, keys: str, tables: str = KERNELS) -> AuditConfig:
    path = folder / "audit.toml"
    path.write_text(with_targets(keys, tables), encoding="utf-8")
    return read_audit(path)


def problems(folder: Path, keys: str, tables: str = KERNELS) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as error:
        read(folder, keys, tables)
    return error.value.problems


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    with fake_backend(tmp_path_factory.mktemp("package")) as environment:
        yield environment


def test_a_target_has_the_keys_of_audit_unless_it_says_otherwise(tmp_path: Path) -> None:
    keys = 'backend = "one-thread"\nagree_with = ["onnxruntime", "fused"]\nthreads = 2'
    config = read(tmp_path, keys)
    found = {each.name: (each.settings.kernels, each.settings.threads) for each in config.columns}
    assert found == {
        "one-thread": ("emulated", 1), "onnxruntime": ("emulated", 2), "fused": ("fused", 2)
    }  # fmt: skip
    assert list(found) == ["one-thread", "onnxruntime", "fused"]
    assert config.unused == ()
    given = {each.name: each.given for each in config.columns}
    assert given == {
        "one-thread": {"threads": 1}, "onnxruntime": {"threads": 2},
        "fused": {"threads": 2, "kernels": "fused"},
    }  # fmt: skip


def test_a_target_is_of_tensorrt_unless_it_says_otherwise(tmp_path: Path) -> None:
    config = read(
        tmp_path, 'agree_with = ["orin"]', '[[targets]]\nname = "orin"\nint8 = "implicit"'
    )
    assert (config.targets["orin"].backend, config.targets["orin"].settings.int8) == (
        "tensorrt", "implicit"
    )  # fmt: skip
    assert "tensorrt" not in config.targets


@pytest.mark.parametrize(
    ("keys", "tables", "place", "told"),
    [
        ('agree_with = ["fusd"]', KERNELS, "audit.agree_with",
         ("there is no backend and no target 'fusd'", "Did you mean fused? Known: ")),
        ('backend = "trt"', KERNELS, "audit.backend",
         ("there is no backend and no target 'trt'", "Did you mean tensorrt? Known: fused, one-")),
        ('agree_with = ["fused"]', KERNELS.replace('"fused"', '"fast"', 1), "audit.agree_with",
         ("there is no backend and no target 'fused'", "fast")),
        ("", KERNELS.replace('"one-thread"', '"Fused"'), "targets[1].name",
         ("two targets are called 'Fused'", "another name")),
        ("", KERNELS.replace('"one-thread"', '"tensorrt"'), "targets[1].name",
         ("'tensorrt' is the name of a backend", "another name")),
        ("", KERNELS.replace('"one-thread"', '"minmax"'), "targets[1].name",
         ("'minmax' has another meaning", "another name")),
        *(("", KERNELS.replace('"one-thread"', f'"{name}"'), "targets[1].name",
           (f"'{name}' has another meaning in reports", "another name"))
          for name in ("int8", "INT8", "fp32", "fp16", "all", "predicted")),
        ("", KERNELS.replace('"one-thread"', '"a/b"'), "targets[1]",
         ("'a/b' can't be a target's name", "letters, digits")),
        ("", KERNELS.replace('name = "fused"\n', ""), "targets[0].name",
         ("this key is missing", "Add it")),
        ("", KERNELS.replace('backend = "onnxruntime"', 'backend = "ort"', 1),
         "targets[0].backend", ("there is no backend 'ort'", "Did you mean onnxruntime?")),
        ("", KERNELS.replace("threads = 1", 'threads = "one"'), "targets[1].threads",
         ("should be a whole number", "Change the value.")),
        ("", KERNELS.replace("threads", "thread"), "targets[1].thread",
         ("unknown key", "Did you mean threads?")),
        ("", KERNELS.replace("threads = 1", 'ranges = ["tensorrt"]'), "targets[1].ranges",
         ("ranges is for tensorrt, and this target's backend is onnxruntime", "change the")),
        ("", KERNELS.replace("threads = 1", "batch_size = 1"), "targets[1].batch_size",
         ("batch_size is for the whole audit", "Move it to [audit].")),
        ("threads = 1", KERNELS.replace("threads = 1", "") + 'kernels = "fused"', "targets[1]",
         ("one-thread is the same as fused: onnxruntime with the same settings", "leave it out")),
        ('agree_with = ["one-thread"]', KERNELS.replace("threads = 1", ""), "targets[1]",
         ("one-thread is the same as onnxruntime", "leave it out")),
        ('agree_with = ["fused", "fused"]', KERNELS, "audit",
         ("agree_with names a backend twice", "backends and targets")),
        ("", "[targets]\nname = 'fused'", "targets",
         ("must be an array of tables", "Write [[targets]].")),
        ('kernels = "quick"', KERNELS.replace('"one-thread"', '"two"'), "audit.kernels",
         ("should be 'emulated' or 'fused'", "Known: emulated, fused.")),
    ],
)  # fmt: skip
def test_what_is_wrong_with_targets_is_told_once_where_it_stands(
    tmp_path: Path, keys: str, tables: str, place: str, told: tuple[str, str]
) -> None:
    (problem,) = problems(tmp_path, keys, tables)
    where = str(problem.where).removeprefix(f"{tmp_path / 'audit.toml'}: ")
    assert re.sub(r" \(.*\)$", "", where) == place
    assert told[0] in problem.message
    assert told[1] in str(problem.next_step)


def test_keys_of_a_targets_backend_may_stand_in_audit(tmp_path: Path) -> None:
    table = '[[targets]]\nname = "l4"\nbackend = "tensorrt_rtx"'
    config = read(tmp_path, 'agree_with = ["l4"]\ncompute_capability = "8.9"', table)
    assert config.targets["l4"].settings.compute_capability == "8.9"
    (problem,) = problems(tmp_path, 'compute_capability = "8.9"')
    assert "which this audit doesn't run on" in problem.message


def test_a_path_of_a_target_is_relative_to_the_audit_file(tmp_path: Path, fake: object) -> None:
    table = '[[targets]]\nname = "it"\nbackend = "fake"\nkey_file = "keys/it"'
    config = read(tmp_path, 'agree_with = ["it"]', table)
    assert config.targets["it"].settings.key_file == tmp_path / "keys" / "it"


def test_a_package_cant_have_a_key_that_every_target_has(tmp_path: Path, fake: object) -> None:
    from fake_members import FAKE  # type: ignore[import-not-found]

    from calaudit.runtime.settings import setting

    FAKE.settings = setting(type("Own", (), {"name": "", "__annotations__": {"name": str}}))
    table = '[[targets]]\nname = "it"\nbackend = "fake"'
    (problem,) = problems(tmp_path, 'agree_with = ["it"]', table)
    assert problem.message == "the backend fake has a key name, which is the audit's own"
    assert problem.next_step == "Fix fake."


def audit(folder: Path, keys: str, tables: str = KERNELS, *, n: int = 600) -> Path:
    return make_world(folder, n=n, audit=with_targets(keys, tables))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    keys = 'backend = "one-thread"\nagree_with = ["onnxruntime", "fused"]'
    path = audit(tmp_path_factory.mktemp("kernels"), keys)
    ended = calaudit("compare", str(path))
    assert ended.status == 1, ended.err
    return path, read_report(path.with_suffix("") / "report.json")


def test_each_target_is_a_column_of_its_own(finished: tuple[Path, Report]) -> None:
    path, report = finished
    cells = {cell.id: cell for cell in report.cells}
    sets = [f"{name}/{method}" for name in ("loud only", "both") for method in ("minmax", "mse")]
    assert list(cells) == [
        *(f"{each}/one-thread" for each in sets),
        "fp32", *sets,
        "fp32/fused", *(f"{each}/fused" for each in sets),
    ]  # fmt: skip
    assert report.reference.backend == "one-thread"
    engines = {name: cell.engine for name, cell in cells.items()}
    assert {each.kernels for each in engines.values() if each} == {"emulated", "fused", "float"}
    assert engines["both/mse/fused"].kernels == "fused"  # type: ignore[union-attr]
    assert [(each.name, each.backend) for each in report.audit.targets] == [
        ("one-thread", "onnxruntime"), ("onnxruntime", "onnxruntime"), ("fused", "onnxruntime")
    ]  # fmt: skip
    made = [each.name for each in (path.with_suffix("") / "predictions").glob("*.h5")]
    assert len(made) == 15, "nothing is shared, though two of them compute the same"
    assert sum("-one-thread-" in name for name in made) == 5
    assert len(list((path.with_suffix("") / "engines").glob("*.onnx"))) == 4, "one graph for all"


def test_every_target_is_compared_with_the_audits_own_fp32(finished: tuple[Path, Report]) -> None:
    _, report = finished
    assert {result.cell for result in report.results} == {cell.id for cell in report.cells}
    assert len({r.reference for r in report.results if (r.slice, r.metric) == ("all", "top1")}) == 1
    found = {(each.cell, each.other): each for each in report.agreement}
    assert set(found) == {
        *((f"fp32{behind}", None) for behind in ("", "/fused")),
        *(
            (f"{name}/{method}{behind}", f"{name}/{method}/one-thread")
            for name in ("loud only", "both")
            for method in ("minmax", "mse")
            for behind in ("", "/fused")
        ),
    }
    assert found["fp32", None].max_abs_diff == 0
    assert found["both/mse", "both/mse/one-thread"].max_abs_diff == 0
    assert {one.recipe for one in report.attribution} <= {"loud only", "both"}


def test_a_renamed_target_is_made_again_and_the_others_arent(
    finished: tuple[Path, Report], tmp_path: Path
) -> None:
    path, report = finished
    text = path.read_text(encoding="utf-8").replace("one-thread", "single")
    renamed = path.with_name("renamed.toml")
    renamed.write_text(text, encoding="utf-8")
    with prepared_audit(renamed, Overrides(out=path.with_suffix(""))) as opened:
        state = {each.name: each.state for each in take_inventory(opened.plan)}
    assert {name for name, each in state.items() if each == "missing"} == {
        "FP32", *(f"{s}/{m}/single" for s in ("loud only", "both") for m in ("minmax", "mse"))
    }  # fmt: skip
    again, _ = run_audit(renamed, Overrides(out=tmp_path / "out"))
    drops = [[r.drop for r in each.results] for each in (report, again)]
    assert drops[0] == drops[1]


def test_forms_show_the_targets_side_by_side(
    finished: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # xdist sets a width that folds the line
    folder = finished[0].with_suffix("")
    shown = calaudit("report", "show", str(folder / "report.json")).out
    page = (folder / "report.html").read_text(encoding="utf-8")
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    rows = [line.split() for line in shown.split("Targets")[1].splitlines()[4:7]]
    assert [" ".join(row[:6]) for row in rows] == [
        "one-thread onnxruntime threads = 1 4",
        "onnxruntime onnxruntime – 4 8 of",
        "fused onnxruntime kernels = fused 4",
    ]
    assert [row[-1] for row in rows] == ["–", "0", "0"], "FP32's outputs are the same"
    assert " ".join(rows[1]).endswith("8 of 16 16 of 16 0")
    assert '<th scope="row">one-thread</th><td>onnxruntime</td><td>threads = 1</td>' in page
    assert "| `onnxruntime` | onnxruntime | – | 4 | 8 of 16 | 16 of 16 | 0 |" in summary
    assert "minmax on fused" in summary
    assert "fp32 on" not in summary.split("###")[0], "FP32 elsewhere is no engine that may ship"


def test_sentences_that_pick_an_engine_name_its_target(finished: tuple[Path, Report]) -> None:
    _, report = finished
    index = Index(report)
    harmed = harmed_slices(index, set(index.slices))
    told = [*attribution_sentences(index, harmed), headline(report)]
    assert len(told) > 1
    assert all("on one-thread" in each for each in told)


def test_a_report_tells_what_its_targets_were_given(finished: tuple[Path, Report]) -> None:
    path, report = finished
    told = {"one-thread": {"threads": "1"}, "onnxruntime": {}, "fused": {"kernels": "fused"}}
    assert {each.name: each.settings for each in report.audit.targets} == told
    assert read_report(path.with_suffix("") / "report.json").audit.targets == report.audit.targets


def test_every_form_names_the_targets(finished: tuple[Path, Report]) -> None:
    folder = finished[0].with_suffix("")
    shown = calaudit("report", "show", str(folder / "report.json"), "--all").out
    names = ("report.html", "summary.md", "junit.xml", "metrics.prom", "report.json")
    forms = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    for name, text in {"terminal": shown, **forms}.items():
        assert all(target in text for target in ("one-thread", "fused")), name


def test_an_unused_target_is_told_of(tmp_path: Path) -> None:
    report, _ = run_audit(audit(tmp_path, 'agree_with = ["fused"]', n=400))
    told = [(each.where, each.message) for each in report.warnings if each.code == "target_unused"]
    assert told == [
        ("target one-thread", "isn't used: neither backend, agree_with nor an engine names it")
    ]
    assert "one-thread" not in {cell.backend for cell in report.cells}


FAKES = """
[[targets]]
name = "new"
backend = "fake"
ssh = "new-host"
made = "{made}"

[[targets]]
name = "old"
backend = "fake"
ssh = "old-host"
made = "{made}"
"""


def on_fakes(folder: Path, *changes: tuple[str, str], keys: str = 'agree_with = ["new", "old"]'):
    """An audit on two fake targets, with changes of their tables."""
    tables = FAKES.format(made=folder / "made.txt")
    for old, new in changes:
        assert old in tables
        tables = tables.replace(old, new, 1)
    if not (folder / "audit.toml").exists():
        return audit(folder, keys, tables)
    path = folder / "audit.toml"
    path.write_text(with_targets(keys, tables), encoding="utf-8")
    return path


def made_since(folder: Path) -> list[str]:
    """What targets were asked to make since the last call."""
    path = folder / "made.txt"
    names = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def test_a_cell_that_fails_on_a_target_doesnt_end_the_audit(tmp_path: Path, fake: object) -> None:
    dying = ('ssh = "old-host"', 'ssh = "old-host"\ndies = "running"')
    report, _ = run_audit(on_fakes(tmp_path, dying))
    failed = {cell.id: cell.reason for cell in report.cells if cell.status == "failed"}
    assert set(failed) == {f"{s}/{m}/old" for s in ("loud only", "both") for m in ("minmax", "mse")}
    assert set(failed.values()) == {"the fake worker died: killed by signal 9"}
    assert {each.environment["gpu"] for each in report.audit.targets if each.environment} == {
        "a fake GPU new-host", "a fake GPU old-host"
    }  # fmt: skip
    assert report.audit.environment["gpu"] == "a fake GPU new-host, a fake GPU old-host"
    made_since(tmp_path)
    again, _ = run_audit(on_fakes(tmp_path))
    assert {cell.status for cell in again.cells} == {"judged"}
    with pytest.raises(BackendError):  # what is kept on other targets stays
        run_audit(on_fakes(tmp_path, ('ssh = "old-host"', 'ssh = "nowhere"')))


def test_where_fp32_fails_on_a_target_nothing_else_is_tried_there(
    tmp_path: Path, fake: object
) -> None:
    dying = ('ssh = "old-host"', 'ssh = "old-host"\ndies = "fp32"')
    report, _ = run_audit(on_fakes(tmp_path, dying))
    failed = {cell.id: cell.reason for cell in report.cells if cell.status == "failed"}
    assert {cell.backend for cell in report.cells if cell.id in failed} == {"old"}
    assert failed.pop("fp32/old") == (
        "the fake worker died: out of GPU memory → Free memory of the GPU."
    )
    assert set(failed.values()) == {"not run, since FP32 failed on old"}
    (row,) = [row for row in target_rows(Index(report)) if row.name == "old"]
    assert (row.runs_on, row.engines, row.regressed, row.fp32) == (
        "fake 1, a fake GPU old-host", "0 of 4", "–", "failed"
    )  # fmt: skip
    assert len(failed) == 4
    assert {r.cell.rpartition("/")[2] for r in report.results} == {"minmax", "mse", "new"}
    asked = made_since(tmp_path)
    assert [name for name in asked if name.endswith("/old")] == ["fp32/old"]

    # repaired: what failed is made, and nothing else is run again
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "audit" / "predictions").glob("*.h5")}
    again, _ = run_audit(on_fakes(tmp_path))
    assert {cell.status for cell in again.cells} == {"judged"}
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "audit" / "predictions").glob("*.h5")}
    assert before.items() <= after.items()
    assert {p.name.split("-")[-2] for p in after.keys() - before.keys()} == {"old"}


def test_what_a_target_runs_on_now_makes_its_engines_again_and_no_others(
    tmp_path: Path, fake: object
) -> None:
    run_audit(on_fakes(tmp_path))
    path = on_fakes(tmp_path, ('ssh = "old-host"', 'ssh = "upgraded-host"'))
    with prepared_audit(path, Overrides()) as opened:
        missing = {each.name for each in take_inventory(opened.plan) if each.state != "made"}
        built = [cell.built for cell in (opened.plan.reference, *opened.plan.cells)]
    assert missing == {
        "fp32/old", *(f"{s}/{m}/old" for s in ("loud only", "both") for m in ("minmax", "mse"))
    }  # fmt: skip
    assert len(set(built)) == len(built), "no two targets share an engine's file"


def test_where_the_audits_own_fp32_fails_it_ends(tmp_path: Path, fake: object) -> None:
    dying = ('ssh = "new-host"', 'ssh = "new-host"\ndies = "fp32"')
    path = on_fakes(tmp_path, dying, keys='backend = "new"\nagree_with = ["old"]')
    ended = calaudit("compare", str(path))
    assert ended.status == 2
    assert "the fake worker died: out of GPU memory\n  → Free memory of the GPU." in ended.err
    assert not (tmp_path / "audit" / "report.json").exists()


def test_targets_out_of_reach_are_told_of_all_at_once_before_any_work(
    tmp_path: Path, fake: object
) -> None:
    changes = [(f'ssh = "{name}-host"', 'ssh = "nowhere"') for name in ("new", "old")]
    changes.append(('name = "old"', 'name = "old"\npython = "python3.8"'))
    with pytest.raises(BackendError) as caught:
        run_audit(on_fakes(tmp_path, *changes))
    where = f"{tmp_path / 'audit.toml'}: "
    assert [str(each) for each in caught.value.problems] == [
        f"{where}targets[{number}] ({name}): nowhere can't be reached: no route to host\n"
        "  → Check that `ssh nowhere true` works."
        for number, name in enumerate(("new", "old"))
    ]
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("path", sorted(AUDITS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_audit_files_of_the_repository_are_read(path: Path) -> None:
    assert read_audit(path).calibsets
