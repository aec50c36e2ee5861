"""Whatever stands in a text that people write, it is understood or refused with a next step."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calaudit.audit.config import read_audit
from calaudit.audit.prepare import Overrides, prepared_audit
from calaudit.backends.tensorrt.precision import prove, read_inspector, read_layer_report
from calaudit.cli.flags import read_dimensions
from calaudit.formats.importers.csv_table import read_csv
from calaudit.formats.requests import RequestLog, read_requests
from calaudit.formats.scales import open_scales, write_scales
from calaudit.formats.trt_cache import parse_trt_cache, table_of
from calaudit.formats.trtexec import open_trtexec
from calaudit.graph.products import Product
from calaudit.report.files import dump, read_report
from calaudit.results.document import to_document
from calaudit.runtime.errors import CalauditError
from calaudit.runtime.settings import parse_settings
from calaudit.sampling.kinds import read_recipe, recipe_from_json
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices, select_rows
from calaudit.slices.sliceset import match_slices
from tests.audit.world import AUDIT, make_world
from tests.backends.tensorrt.test_precision import INSPECTED
from tests.backends.tensorrt.test_precision import REPORT as LAYER_REPORT
from tests.formats.trtexec_files import LAYERS, NAMES_ALONE, PROFILE, TIMES
from tests.fuzz.mutations import EDITS, SCALARS, VALUES, edited, fuzzed, toml
from tests.report.factory import report
from tests.slices.memory_pool import MemoryPool

ROOT = Path(__file__).parents[2]
KEY_LIST = """
    name model pool evaluate calibrate seed methods kernels batch_size threads level by
    edges quantiles tail count tail_labels where cross min_support missing kind size
    candidates strata allocation deviation loss floor cap only without shares embedding
    algorithm start file recipe output target metrics gallery relevance popularity vectors
    query item metric max_drop slices cluster_by draws relative backend precisions agree_with
    vocabulary blank
"""
KEYS = KEY_LIST.split()
TABLES = ("audit", "slices", "calibsets", "tasks", "gates", "strata")
POOL = MemoryPool(
    snr_db=[-5.0, 0, 5, float("nan"), float("inf")],
    speaker=["theo", "lucas", None, "theo", "nicolas"],
    label=[0, 1, 2, 3, 4],
)


def refused_or(read: Callable[[], Any]) -> Any:
    """What `read` gives; None where it refuses in the project's own words."""
    try:
        return read()
    except CalauditError as refusal:
        error = refusal
    assert error.problems
    assert all(each.message.strip() for each in error.problems)
    return None


def read_back(content: bytes, read: Callable[[Path], Any], name: str = "x.toml") -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        return refused_or(lambda: read(path))


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """The audit of a small world, a few of whose keys have other values."""
    lines = AUDIT.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        key, value = draw(st.sampled_from(KEYS)), draw(VALUES)
        if draw(st.booleans()) and " = " in lines[at]:
            lines[at] = f"{lines[at].split(' = ')[0]} = {toml(value)}"
        else:
            header = draw(st.sampled_from(["", "", *(f"[[{name}]]\n" for name in TABLES)]))
            lines.insert(at, f"{header}{key} = {toml(value)}")
    return "\n".join(lines).encode()


@fuzzed(60)
@given(st.one_of(documents(), EDITS.map(lambda edits: edited(AUDIT.encode(), edits))))
def test_audit_files(content: bytes) -> None:
    read_back(content, read_audit)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("fuzz"), n=80).parent


@fuzzed(25)
@given(content=documents())
def test_audits_that_are_checked_against_their_model_and_pool(world: Path, content: bytes) -> None:
    (world / "fuzzed.toml").write_bytes(content)

    def prepare() -> None:
        with prepared_audit(world / "fuzzed.toml", Overrides()):
            pass

    refused_or(prepare)


RECIPES = [path.read_bytes() for path in sorted((ROOT / "calibsets").glob("*.toml"))]


@fuzzed(60)
@given(st.sampled_from(RECIPES), EDITS, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
def test_recipes(base: bytes, edits: list[Any], more: dict[str, Any]) -> None:
    lines = "".join(f"{key} = {toml(value)}\n" for key, value in more.items()).encode()
    read_back(edited(base, edits), read_recipe)
    read_back(lines + base, read_recipe)
    values = {"name": "r", "size": 4} | more
    refused_or(lambda: recipe_from_json(json.dumps(values, default=str), where="r"))


@fuzzed(40)
@given(st.text(max_size=60) | st.recursive(SCALARS, lambda x: st.lists(x, max_size=3)).map(repr))
def test_recipes_as_json(text: str) -> None:
    refused_or(lambda: recipe_from_json(text, where="r"))


WORD_LIST = """
    snr_db speaker label 'theo' 0 1.5 -1e400 'inf'::float NULL and or not in like ilike
    between is when then else case end ( ) , = <> < >= + - * / % || :: . ; -- /* */ ' $1 ?
    :x [1,2] {} select from over cast try_cast mod abs length lower strpos date timestamp
    interval array any exists count sum read_csv ☃ 🎧 1e999 0x1F 9999999999999999999999
"""
WORDS = [*WORD_LIST.split(), '"', "\x00", "\n"]


@fuzzed(80)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=10).map(" ".join)))
def test_predicates(text: str) -> None:
    rows = refused_or(lambda: select_rows(text, POOL, where="x"))
    assert rows is None or set(rows.tolist()) <= set(range(5))


@fuzzed(60)
@given(st.text(max_size=30), st.lists(st.text(max_size=12), max_size=5))
def test_patterns_and_flags(text: str, names: list[str]) -> None:
    refused_or(lambda: match_slices(text, names, where="x"))
    for flags in ([[text], None, None], [None, [text], None], [None, None, [text]]):
        refused_or(partial(read_dimensions, *flags))


@fuzzed(60)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "by",
                "edges",
                "quantiles",
                "tail",
                "count",
                "tail_labels",
                "missing",
                "name",
                "min_support",
            ]
        ),
        VALUES | st.sampled_from(["snr_db", "speaker", "label", [0.5], [0, 5], 3]),
        max_size=4,
    )
)
def test_dimensions(values: dict[str, Any]) -> None:
    def evaluate() -> None:
        made = parse_settings({"by": "snr_db"} | values, Dimension, where="x")
        assert evaluate_slices([made], POOL, where="x").n_rows == 5

    refused_or(evaluate)


CACHE = (
    b"TRT-8601-EntropyCalibration2\ninput: 3c010204\nconv 1: 3f800000\n"
    b"(Unnamed Layer* 1): 7f800000\n"
)


@fuzzed(80)
@given(EDITS)
def test_caches(edits: list[Any]) -> None:
    cache = refused_or(lambda: parse_trt_cache(edited(CACHE, edits), where="x"))
    if cache is not None:
        refused_or(lambda: table_of(cache, calibset="c"))
        content = refused_or(cache.to_bytes)
        if content is not None:
            assert parse_trt_cache(content, where="x").entries == cache.entries


@fuzzed(80)
@given(st.sampled_from([TIMES, PROFILE, LAYERS, NAMES_ALONE]), EDITS)
def test_files_of_trtexec(text: str, edits: list[Any]) -> None:
    found = read_back(edited(text.encode(), edits), lambda path: open_trtexec([path]))
    if found is not None and found.times is not None:
        assert found.times.seconds > 0
        assert (found.times.latency_ms >= 0).all()


LOG = b"""time,user,sample,click
2026-03-01T12:00:00,u1,a,true
2026-03-01T12:00:01.5,u2,b,
2026-03-01T11:59:59Z,u1,007,false
"""
SECONDS = b"time,user,sample,label\n0,u1,a,1\n2.5,u1,b,0.5\n1e3,u2,a,nan\n"


@fuzzed(150)
@given(st.sampled_from([LOG, SECONDS]), EDITS, st.booleans())
def test_logs_of_requests(text: bytes, edits: list[Any], skip: bool) -> None:
    def read(path: Path) -> tuple[RequestLog, int]:
        log = read_requests(path, ["a", "b", "007"], skip_unknown=skip)
        return log, read_csv(path).frame.height

    found = read_back(edited(text, edits), read, "x.csv")
    if found is not None:
        log, n_rows = found
        assert len(log) + log.n_unknown == n_rows
        assert len(log) > 0
        assert np.isfinite(log.time).all()
        assert log.time[0] == 0.0
        assert (np.diff(log.time) >= 0).all()
        assert set(log.user.tolist()) == set(range(len(log.users)))
        assert log.row.max() < 3


def scales_file() -> bytes:
    cache = parse_trt_cache(CACHE.replace(b"7f800000", b"3f000000"), where="x")
    with tempfile.TemporaryDirectory() as folder:
        write_scales(Path(folder) / "s.json", table_of(cache, calibset="c"))
        return (Path(folder) / "s.json").read_bytes()


SCALES_FILE = scales_file()


@fuzzed(40)
@given(EDITS)
def test_scale_tables(edits: list[Any]) -> None:
    read_back(edited(SCALES_FILE, edits), open_scales, "s.json")


REPORT = dump(to_document(report())).encode()


@fuzzed(30)
@given(EDITS, st.sampled_from(["1", "null", '"x"', "[]", "{}", "-1e400", "NaN"]), st.floats(0, 1))
def test_reports(edits: list[Any], value: str, place: float) -> None:
    read_back(edited(REPORT, edits), read_report, "report.json")
    lines = REPORT.decode().splitlines()
    at = int(place * (len(lines) - 1))
    if '": ' in lines[at]:
        comma = "," if lines[at].endswith(",") else ""
        lines[at] = f"{lines[at].split(': ')[0]}: {value}{comma}"
    read_back("\n".join(lines).encode(), read_report, "report.json")


INSPECTOR = (INSPECTED / "residual.json").read_bytes()
PRODUCTS = tuple(
    Product(name, "Conv", "int8", "", tensors=("x", name))
    for name in ("n0_Conv", "n2_Conv", "n7_Gemm", "g1", "g2[0]", "c1")
)


@fuzzed(80)
@given(EDITS, VALUES, st.sampled_from(["Layers", "Inputs", "Weights", "Name", "Dimensions"]))
def test_what_tensorrt_says_of_its_layers(edits: list[Any], value: Any, key: str) -> None:
    """TensorRT's own words are no user's: what isn't understood is unknown, and nothing raises."""
    document = json.loads(INSPECTOR)
    for place in (document, *document["Layers"]):
        if key in place:
            place[key] = value
    texts = [edited(INSPECTOR, edits).decode("utf-8", "replace"), json.dumps(document, default=str)]
    accounts = [read_inspector(text) for text in texts]
    accounts.append(
        read_layer_report(edited(LAYER_REPORT.encode(), edits).decode("utf-8", "replace"))
    )
    for layers in accounts:
        found = prove(PRODUCTS, layers, "engine inspector").nodes
        assert [node.node for node in found] == [each.name for each in PRODUCTS]
        assert all(node.reason for node in found if node.got != "int8")
