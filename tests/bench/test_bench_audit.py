"""A bench of a small audit's real engines: what is measured, kept, replaced and refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calaudit.audit import run
from calaudit.audit.bench_entry import Variant, built_path
from calaudit.audit.config import read_audit
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.audit.run import run_audit
from calaudit.backends.onnxruntime.kind import OnnxruntimeKind
from calaudit.bench import measuring
from calaudit.bench.contestants import gather
from calaudit.bench.run import bench_audit
from calaudit.report.files import read_report
from calaudit.results.document import to_document
from calaudit.results.report import Report
from calaudit.runtime.errors import CalauditError, Notice, SettingsError
from tests.audit.world import AUDIT, make_world
from tests.cli.running import calaudit
from tests.formats.trtexec_files import LAYERS, PROFILE, write

QUICK = {"rounds": 6, "seconds": 0.001, "warm_up": 0.01}
ONE_METHOD = AUDIT.replace('["minmax", "mse"]', '["minmax"]')
BENCH = """
[bench]
rounds = 6
seconds = 0.001
warm_up = 0.01
batches = [1, 20]
streams = [1, 2]

[[bench.variants]]
name = "one thread"
threads = 1

[[bench.variants]]
name = "as is"
graph_optimization = "none"
target = "onnxruntime"
"""


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report, list[Notice]]:
    audit = make_world(tmp_path_factory.mktemp("bench"), n=400, audit=ONE_METHOD + BENCH)
    said: list[Notice] = []
    report, path = bench_audit(audit, tell=said.append)
    assert read_report(path) == report
    return audit, report, said


def test_every_engine_is_measured_under_every_variant_fp32_first(benched: Any) -> None:
    bench = benched[1].bench
    cells = ["loud only/minmax", "both/minmax"]
    assert [each.key for each in bench.engines] == [
        (name, variant) for name in ["fp32", *cells] for variant in ("", "one thread", "as is")
    ]
    assert {each.kernels for each in bench.engines if each.engine != "fp32"} == {"fused"}
    assert bench.engines[1].knobs == {"threads": 1}
    for each in bench.engines:
        assert [one.batch for one in each.latencies] == [1, 20]
        assert [(o.batch, o.streams) for o in each.throughput] == [(1, 1), (1, 2), (20, 1), (20, 2)]
        assert all(one.n >= 6 for one in each.latencies)
        assert each.memory is not None
        assert each.memory.peak_bytes is not None
        assert each.memory.batch == 20
        assert each.layers_batch == 20
        assert each.warm_up is not None


def test_sizes_and_fingerprints_are_those_of_the_audits_files(benched: Any) -> None:
    audit, report, _ = benched
    for each in report.bench.engines:
        cell = next((c for c in report.cells if c.id == each.engine), None)
        if cell is None:
            file, engine = audit.parent / "model.onnx", report.reference.engine
        else:
            file, engine = audit.with_suffix("") / cell.file, cell.engine
        assert each.file_bytes == file.stat().st_size
        assert each.fingerprint == engine.fingerprint


def test_each_is_compared_with_fp32_of_its_variant_and_fp32_with_a_copy(benched: Any) -> None:
    bench = benched[1].bench
    assert {(r.baseline, r.baseline_variant == r.variant) for r in bench.ratios} == {("fp32", True)}
    assert {r.engine for r in bench.ratios} == {e.engine for e in bench.engines} - {"fp32"}
    mine = [r for r in bench.ratios if (r.engine, r.variant) == ("both/minmax", "")]
    assert {(r.quantity, r.batch, r.streams) for r in mine} == {
        ("latency", 1, None), ("latency", 20, None), ("throughput", 1, 1), ("throughput", 1, 2),
        ("throughput", 20, 1), ("throughput", 20, 2), ("file", None, None), ("memory", 20, None),
    }  # fmt: skip
    for one in mine:
        assert (one.ratio.low is None) == (one.quantity in {"file", "memory"})
    assert {(r.engine, r.baseline, r.quantity) for r in bench.noise} == {
        ("fp32", "fp32", "latency"), ("fp32", "fp32", "throughput"),
    }  # fmt: skip


def test_layers_cover_the_products_and_integer_kernels_are_counted(benched: Any) -> None:
    report = benched[1]
    fp32 = report.bench.engines[0]
    assert {node for layer in fp32.layers for node in layer.nodes} == {"matmul", "add"}
    int8 = next(each for each in report.bench.engines if each.key == ("both/minmax", ""))
    integer = {n for layer in int8.layers if layer.precision == "int8" for n in layer.nodes}
    told = [each for each in report.bench.notices if each.code == "bench_float_kernels"]
    assert bool(told) == ("matmul" not in integer)


def test_what_differs_from_the_audit_is_said(benched: Any) -> None:
    _, report, said = benched
    served = next(each for each in report.bench.notices if each.code == "bench_served")
    assert "kernels = 'fused'" in served.message
    assert [each.code for each in said if each.code == "audit_not_finished"]
    assert {"cpu", "cores", "load", "onnxruntime"} <= report.bench.environment.keys()


def test_the_rest_of_the_report_is_that_of_compare(benched: Any) -> None:
    audit, report, _ = benched
    again, _ = run_audit(audit, formats="none", tell=lambda notice: None)
    assert again.bench == report.bench
    one, other = (to_document(replace(r, timings={}, created="")) for r in (report, again))
    assert one == other


def test_the_page_and_the_other_forms_are_written_with_it(benched: Any) -> None:
    folder = benched[0].with_suffix("")
    bench_audit(benched[0], settings={"cells": ["both/*"]}, tell=lambda notice: None)
    for name in ("report.html", "summary.md"):
        assert "one thread" in (folder / name).read_text(encoding="utf-8")


def test_a_second_bench_replaces_the_first_and_says_so(benched: Any) -> None:
    audit = benched[0]
    said: list[Notice] = []
    report, _ = bench_audit(
        audit, settings={"cells": ["both/*"], "batches": [3]}, formats="none", tell=said.append
    )
    assert report.bench is not None
    assert {each.engine for each in report.bench.engines} == {"fp32", "both/minmax"}
    assert report.bench.settings.batches == (3,)
    assert "bench_replaced" in {each.code for each in said}


def test_ctrl_c_keeps_what_was_there(benched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = benched[0]
    path = audit.with_suffix("") / "report.json"
    before = path.read_bytes()
    timed: list[object] = []

    def interrupted(*given: Any) -> Any:
        timed.append(given)
        if len(timed) == 20:
            raise KeyboardInterrupt
        return times(*given)

    times = measuring.time_block
    monkeypatch.setattr(measuring, "time_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench_audit(audit, formats="none", tell=lambda notice: None)
    assert len(timed) == 20
    assert path.read_bytes() == before


def test_of_several_draws_the_first_is_measured(tmp_path: Path) -> None:
    settings = ONE_METHOD.replace("methods =", "replicates = 2\nmethods =")
    audit = make_world(tmp_path, n=400, audit=settings)
    report, _ = bench_audit(audit, settings=QUICK, formats="none", tell=lambda notice: None)
    assert report.bench is not None
    measured = [each.engine for each in report.bench.engines]
    assert measured == ["fp32", *(c.id for c in report.cells if "#2" not in c.id)]
    (told,) = [each for each in report.bench.notices if each.code == "bench_first_draws"]
    assert "loud only#2/minmax" in told.message


def test_a_draw_that_keeps_every_gate_is_measured_before_an_earlier_one(tmp_path: Path) -> None:
    settings = ONE_METHOD.replace("methods =", "replicates = 2\nmethods =")
    path = make_world(tmp_path, n=400, audit=settings)
    report, _ = run_audit(path, formats="none", tell=lambda notice: None)

    def judged(keeping: str) -> Report:
        results = tuple(
            r
            if r.gate is None
            else replace(r, verdict="PASS" if r.cell == keeping else "INCONCLUSIVE")
            for r in report.results
        )
        return replace(report, results=results)

    with prepared_audit(path, Overrides()) as opened:
        for keeping in ("both/minmax", "both#2/minmax"):
            field = gather(opened, judged(keeping), ())
            of_recipe = {c.planned.id for c in field.contestants if c.planned.recipe == "both"}
            assert of_recipe == {keeping}


def test_a_bench_of_some_engines_names_the_others(tmp_path: Path) -> None:
    path = make_world(tmp_path, n=400, audit=ONE_METHOD)
    said: list[Notice] = []
    bench_audit(path, settings=QUICK, formats="none", tell=said.append)
    assert not {"bench_narrowed", "bench_dropped"} & {each.code for each in said}
    settings = {**QUICK, "cells": ["both/minmax"]}
    report, _ = bench_audit(path, settings=settings, formats="none", tell=said.append)
    assert report.bench is not None
    (told,) = [each.message for each in report.bench.notices if each.code == "bench_asked"]
    assert told == "not measured by this bench: loud only/minmax"
    assert "bench_dropped" not in {each.code for each in said}
    (narrowed,) = [each.message for each in said if each.code == "bench_narrowed"]
    assert "loud only/minmax, which an earlier bench measured, wasn't" in narrowed


def test_engines_that_predict_another_library_arent_measured(tmp_path: Path) -> None:
    settings = ONE_METHOD.replace("methods =", 'int8 = "implicit"\nmethods =')
    audit = make_world(tmp_path, n=400, audit=settings)
    report, _ = bench_audit(audit, settings=QUICK, formats="none", tell=lambda notice: None)
    assert report.bench is not None
    assert [each.engine for each in report.bench.engines] == ["fp32"]
    assert "bench_predicted" in {each.code for each in report.bench.notices}


def test_status_tells_of_the_bench_and_clean_keeps_what_variants_built(
    benched: Any, tmp_path: Path
) -> None:
    world = Path(shutil.copytree(benched[0].parent, tmp_path / "world"))
    audit = world / "audit.toml"
    bench_audit(audit, settings={"cells": ["both/*"]}, formats="none", tell=lambda notice: None)
    config = read_audit(audit)
    with prepared_audit(audit, Overrides()) as opened:
        cell = opened.plan.cells[-1]
        built = built_path(cell.built, cell.id, config.bench.variants[0])
        built.write_bytes(b"built with one thread")
        other = built_path(cell.built, cell.id, Variant("gone", {"threads": 3}))
        other.write_bytes(b"of a variant that is no more")
    found = json.loads(calaudit("status", audit, "--json").out)
    assert found["bench"]["engines"] == ["fp32", "both/minmax"]
    assert found["bench"]["not_measured"] == ["loud only/minmax"]
    assert found["bench"]["outdated"] == []
    assert [each["file"] for each in found["earlier"]] == [f"engines/{other.name}"]
    assert "2 engines; not measured: loud only/minmax." in calaudit("status", audit).out
    # another set of the same name: another engine
    audit.write_text(audit.read_text().replace("strata = [", "seed = 9\nstrata = ["))
    found = json.loads(calaudit("status", audit, "--json").out)
    assert found["bench"]["outdated"] == ["both/minmax"]


def test_a_batch_that_no_engine_is_built_for_is_refused_before_any_work(
    benched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxruntimeKind, "keeps_engines", True)
    monkeypatch.setattr(run, "run_audit", None)
    with pytest.raises(SettingsError, match=r"batch_size, 100, and a batch of 101"):
        bench_audit(benched[0], settings={"batches": [1, 101]})


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--cell", "both/mnmax"), "Did you mean both/minmax"),
        (("--trtexec", "both/mnmax={times}"), "there is no engine 'both/mnmax'"),
        (("--trtexec", "both/minmax={audit}"), "isn't JSON"),
        (("--trtexec", "both/minmax=no.json"), "no.json"),
    ],
)
def test_engines_and_files_are_checked_before_anything_is_made(
    tmp_path: Path, flags: tuple[str, str], told: str
) -> None:
    audit = make_world(tmp_path, n=400, audit=ONE_METHOD)
    times = ",".join(map(str, write(tmp_path / "trtexec", p=PROFILE, i=LAYERS)))
    of = flags[1].format(audit=audit, times=times)
    ended = calaudit("bench", audit, flags[0], of)
    assert ended.status == 2
    assert told in ended.err
    assert not audit.with_suffix("").exists()


def test_names_of_first_draws_are_listed_first(tmp_path: Path) -> None:
    audit = make_world(
        tmp_path, n=400, audit=ONE_METHOD.replace("methods =", "replicates = 8\nmethods =")
    )
    ended = calaudit("bench", audit, "--cell", "zzzzzz")
    assert ended.status == 2
    known = ended.err.partition("Known: ")[2]
    assert known.index("loud only/minmax") < known.index("#2"), ended.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--cell", "both/mnmax"), "no engine that can be run is called 'both/mnmax'"),
        (("--rounds", "1001"), "rounds must lie between 1 and 1000"),
        (("--seconds", "0"), "seconds must lie above 0"),
        (("--batch", "2", "--batch", "2"), "batches must be numbers from 1 on, once each"),
    ],
)
def test_wrong_flags_end_with_2(benched: Any, flags: tuple[str, ...], told: str) -> None:
    ended = calaudit("bench", benched[0], *flags)
    assert ended.status == 2
    assert told in ended.err


def test_the_command_ends_as_compare_does_and_prints_the_bench(
    benched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    audit = benched[0]
    compared = calaudit("compare", audit, "--formats", "none")
    ended = calaudit(
        "bench", audit, "--batch", 1, "--rounds", 6, "--seconds", 0.001, "--cell", "both/*",
        "--warm-up", 0.01, "--no-layers", "--formats", "none", "--json",
    )  # fmt: skip
    assert ended.status == compared.status
    found = json.loads(ended.out)["bench"]
    assert found["settings"]["batches"] == [1]
    assert {each["engine"] for each in found["engines"]} == {"fp32", "both/minmax"}
    assert all(each["layers"] == [] for each in found["engines"])


@pytest.mark.parametrize(
    ("table", "problems"),
    [
        ("rounds = 0", ["bench: rounds must lie between"]),
        ("repeats = 3", ["bench.repeats: unknown key", "rounds"]),
        ("streams = []", ["streams is empty"]),
        ("batches = [0]", ["batches must be numbers from 1 on"]),
        ("variants = 3", ["bench.variants: must be an array of tables"]),
        ("[[bench.variants]]\nthreads = 1", ["bench.variants[0]: needs a name"]),
        ('[[bench.variants]]\nname = "a"', ["bench.variants[0]: changes nothing"]),
        ('[[bench.variants]]\nname = "a"\nthreads = 0', ["bench.variants[0]", "between 1 and"]),
        (
            '[[bench.variants]]\nname = "a"\nthreds = 1',
            ["variants[0].threds: unknown key", "threads"],
        ),
        (
            '[[bench.variants]]\nname = "a"\noptimization_level = 5',
            ["variants[0].optimization_level", "is for tensorrt", "runs on onnxruntime"],
        ),
        (
            '[[bench.variants]]\nname = "a"\nthreads = 1\ntarget = "orin"',
            ["variants[0].target", "the audit runs on no target 'orin'"],
        ),
        (
            2 * '[[bench.variants]]\nname = "a"\nthreads = 1\n',
            ["bench.variants[1]: two are called 'a'"],
        ),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(
    tmp_path: Path, table: str, problems: list[str]
) -> None:
    audit = make_world(tmp_path, n=40, audit=f"{AUDIT}\n[bench]\n{table}\n")
    with pytest.raises(CalauditError) as caught:
        bench_audit(audit)
    for each in problems:
        assert each in str(caught.value)
