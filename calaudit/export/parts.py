"""The files of one engine, written into a folder: graph, scales, cache, set, shapes, provenance."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from calaudit.audit.finished import Finished
from calaudit.audit.keys import file_key
from calaudit.backends.tensorrt.profile import ShapeRange, plan_profile
from calaudit.calibration.batching import Batching, SampleOrder
from calaudit.calibration.methods import ALL_METHODS, ENTROPY_TRT
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.calibset import Calibset
from calaudit.formats.engine import facts_path
from calaudit.formats.npz import write_ids, write_npz
from calaudit.formats.scales import open_scales, write_scales
from calaudit.formats.trt_cache import cache_of, open_trt_cache, table_of, write_trt_cache
from calaudit.formats.trt_header import ENTROPY_2, MINMAX, TrtVersion
from calaudit.formats.writing import write_text
from calaudit.graph.exempt import given_names
from calaudit.graph.fp16 import convert_to_fp16
from calaudit.graph.implicit import implicit_graph
from calaudit.graph.load import load_model
from calaudit.graph.metadata import with_metadata
from calaudit.graph.model import Model
from calaudit.graph.names import all_graphs, name_of
from calaudit.graph.prepare import prepare
from calaudit.graph.quantized import load_quantized
from calaudit.report.index import Index, predicts
from calaudit.results.audited import CellRecord
from calaudit.runtime.errors import (
    CalauditError,
    FileFormatError,
    ModelError,
    Notice,
    RangesError,
)
from calaudit.runtime.words import counted
from calaudit.steps.build import write_graph
from calaudit.steps.write_cache import write_complete_cache
from calaudit.version import __version__

Kind = Literal["qdq", "fp16", "implicit", "native", "foreign"]
"""A graph with Q/DQ; one of FP16; FP32 with a cache of calaudit's ranges, or of TensorRT's own; an
engine that somebody else made."""

GRAPH: Final = "model.onnx"
FP32: Final = "fp32.onnx"
PREDICTED: Final = "predicted.onnx"
SCALES: Final = "scales.json"
CACHE: Final = "calibration.cache"
SAMPLES: Final = "calibset.npz"
IDS: Final = "calibset.txt"
SHAPES: Final = "shapes.json"
PROVENANCE: Final = "provenance.json"
PLAN: Final = "engine.plan"
README: Final = "README.md"

FORMAT: Final = "export"
FORMAT_VERSION: Final = 1
"""Of provenance.json. 1: the first."""
DEFAULT_BATCH: Final = 64
"""The audit's ``batch_size`` where its file says nothing."""


@dataclass(slots=True)
class Parts:
    """One export under way."""

    finished: Finished
    cell: CellRecord
    folder: Path
    version: TrtVersion
    """Of the TensorRT that will read the cache."""
    given: Path | None = None
    """The FP32 model, where it isn't where the audit file says."""
    files: dict[str, str] = field(default_factory=dict)
    """Name → what it is."""
    notices: list[Notice] = field(default_factory=list)
    shapes: dict[str, ShapeRange] = field(default_factory=dict)
    """Of the inputs with free axes."""
    fixed_batch: bool = False
    subgraphs: bool = False
    held: dict[str, str] = field(default_factory=dict)
    """Nodes of the FP32 model that implicit quantization is to leave in float → what they make."""
    beyond: str = ""
    """Where tensors without Q/DQ have their ranges from, in words; empty without a cache."""

    @property
    def kind(self) -> Kind:
        """What the engine is made of."""
        if self.cell.foreign is not None:
            return "foreign"
        if self.cell.precision == "fp16":
            return "fp16"
        if self.cell.given_ranges is None and self.cell.ranges_by != "calaudit":
            return "native"
        told = {each.name: each.settings for each in self.finished.report.audit.targets}
        implicit = told.get(self.cell.backend, {}).get("int8") == "implicit"
        return "implicit" if implicit or predicts(self.cell) else "qdq"

    @property
    def batch_size(self) -> int:
        """Most samples of a batch in the audit."""
        table = self.finished.report.audit.config.get("audit")
        found = table.get("batch_size") if isinstance(table, dict) else None
        return found if isinstance(found, int) else DEFAULT_BATCH

    @property
    def runs_in_onnxruntime(self) -> str:
        """The graph that onnxruntime runs; empty where there is none."""
        return next((name for name in (GRAPH, PREDICTED) if name in self.files), "")

    @property
    def calibrator(self) -> str:
        """What TensorRT calls the calibrator that reads the cache."""
        header = open_trt_cache(self.folder / CACHE).header
        minmax = header is not None and header.algorithm == MINMAX
        return "IInt8MinMaxCalibrator" if minmax else "IInt8EntropyCalibrator2"

    def provenance(self) -> dict[str, str]:
        """Where the engine comes from, as texts."""
        report, cell = self.finished.report, self.cell
        engine = cell.engine
        drawn = next((each for each in report.calibsets if each.name == cell.calibset), None)
        verdict = Index(report).verdict_of(cell.id)
        values = {
            "exported_by": f"calaudit {__version__}",
            "audit": report.audit.name,
            "audited_by": f"calaudit {report.calaudit_version}",
            "audited": report.created,
            "audit_settings": report.audit.config_fingerprint,
            "seed": str(report.audit.seed),
            "cell": cell.id,
            "role": cell.role,
            "verdict": "not gated" if verdict is None else verdict.value,
            "precision": cell.precision,
            "target": cell.backend,
            "kernels": "" if engine is None else engine.kernels,
            "graph": "" if engine is None else engine.fingerprint,
            "model": f"{report.audit.model.name} {report.audit.model.fingerprint}",
            "pool": f"{report.audit.pool.name} {report.audit.pool.fingerprint}",
            "method": cell.method or "",
            "given_ranges": cell.given_ranges or "",
            "made_by": (cell.foreign and cell.foreign.maker) or "",
            "calibrated_on": (cell.foreign and cell.foreign.calibrated_on) or "",
            "exemption": cell.exemption or "",
            "left_in_float": "" if engine is None else ", ".join(engine.exempt),
            "ranges_by": cell.ranges_by or "",
            "calibset": cell.calibset or "",
            "calibset_drawn": "" if drawn is None else drawn.method,
            "calibset_content": "" if drawn is None else drawn.fingerprint or "",
        }
        return {key: value for key, value in values.items() if value}


def write_parts(parts: Parts) -> None:
    """Write all files but the README and the sums.

    Raises
    ------
    FileFormatError, ModelError
        A file that the engine is made of is gone, or isn't the one that was judged.
    OutputError
        A file can't be written.
    """
    drawn = _calibset(parts)
    if parts.kind == "qdq":
        model = _explicit(parts, drawn)
    elif parts.kind == "foreign":
        model = _foreign(parts)
    elif parts.kind == "fp16":
        model = _half(parts)
    else:
        model = _implicit(parts)
    _shapes(parts, model, drawn)
    _plan(parts)
    content = {"calaudit_format": FORMAT, "format_version": FORMAT_VERSION, **parts.provenance()}
    write_text(parts.folder / PROVENANCE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    parts.files[PROVENANCE] = "where the engine comes from, as in the metadata of the ONNX files"


def _calibset(parts: Parts) -> Calibset | None:
    if parts.cell.calibset is None:
        return None
    drawn = parts.finished.calibset(parts.cell.calibset)
    write_npz(parts.folder / SAMPLES, drawn)
    parts.files[SAMPLES] = f"the calibration set: {counted(len(drawn), 'sample')}, by input"
    write_ids(parts.folder / IDS, drawn)
    parts.files[IDS] = 'its sample ids, one per line, as recipes of kind = "ids" read them'
    return drawn


def _explicit(parts: Parts, drawn: Calibset | None) -> Model:
    """The Q/DQ graph, its scale table, and a cache for implicit quantization by the same ranges."""
    cell = parts.cell
    name = cell.graph or cell.file or ""
    if not name.endswith(".onnx"):  # written before reports named graphs
        name = f"engines/{Path(cell.scales or name).stem}.onnx"
    graph = load_model(parts.finished.file(name), quantized=True)
    _check(parts, graph)
    _write_graph(parts, graph, GRAPH, "the INT8 engine: a Q/DQ graph with all its weights")
    table = _table(parts)
    try:
        _complete_cache(parts, table, drawn)
    except CalauditError as error:
        (parts.folder / CACHE).unlink(missing_ok=True)
        # other next steps are flags that an export hasn't
        problems = (
            each if "--model" in (each.next_step or "") else replace(each, next_step=None)
            for each in error.problems
        )
        told = "; ".join(map(str, problems))
        parts.notices.append(Notice("no_cache", f"no calibration cache: {' '.join(told.split())}"))
    return graph


def _complete_cache(parts: Parts, table: ScaleTable, drawn: Calibset | None) -> None:
    """A cache of the engine's own scales; other tensors are observed on its set, or on all sets."""
    model = parts.finished.model(parts.given)
    sets, method, batching = [drawn], table.method, None
    parts.beyond = "one by the same set and method"
    if drawn is None or method not in ALL_METHODS:
        records = parts.finished.report.calibsets
        sets, method = [parts.finished.calibset(each.name) for each in records], "minmax"
        if not sets:
            raise RangesError(
                "the audit has no calibration set on which to observe the tensors without given "
                "ranges"
            )
        parts.beyond = f"a min-max range over {counted(len(sets), 'calibration set')} of the audit"
    if method == ENTROPY_TRT:
        stored = table.options.get("calibration_order") == "stored"
        order: SampleOrder = "stored" if stored else "mixed"
        batching = Batching(int(table.options.get("calibration_batch", 64)), order=order)
    made = write_complete_cache(
        Path(model.label),
        [each.path for each in sets if each is not None],
        parts.folder / CACHE,
        method=method,
        version=parts.version,
        algorithm=ENTROPY_2,
        batch_size=parts.batch_size,
        batching=batching,
        own=table,
    )
    kept = {"numbered_as_seen", "names_unsure", "no_range"}
    parts.notices += [each for each in made.notices if each.code in kept]
    _cache_written(parts)
    _write_graph(parts, model, FP32, "the FP32 model, for the calibration cache")
    _hold(parts, model)


def _hold(parts: Parts, model: Model) -> tuple[str, ...]:
    """Note which nodes of the FP32 model the engine leaves in float as asked; gives their names."""
    engine = parts.cell.engine
    if engine is None or not engine.exempt:
        return ()
    names = given_names(engine.exempt, model, prepare(model))
    made = {name_of(node): node.output[0] for node in model.proto.graph.node}
    parts.held = {name: made[name] for name in names if name in made}
    return names


def _half(parts: Parts) -> Model:
    graph, notices = convert_to_fp16(prepare(parts.finished.model(parts.given)))
    parts.notices += notices
    _check(parts, graph)
    _write_graph(parts, graph, GRAPH, "the FP16 engine: a graph with all its weights")
    return graph


def _foreign(parts: Parts) -> Model:
    """What somebody else made, as it was judged."""
    path, told = parts.finished.engine(parts.cell), parts.cell.foreign
    if told is not None and told.kind == "plan":
        if file_key(path) != told.fingerprint:
            raise FileFormatError(
                f"isn't the plan that was judged as {parts.cell.id!r}",
                where=path,
                next_step="Run calaudit compare again.",
            )
        shutil.copyfile(path, parts.folder / PLAN)
        parts.files[PLAN] = "TensorRT's plan as it was given, bound to its release and GPU"
        return parts.finished.model(parts.given)
    graph = load_quantized(path)
    _check(parts, graph)
    _write_graph(parts, graph, GRAPH, "the engine as it was given: a graph with all its weights")
    return graph


def _implicit(parts: Parts) -> Model:
    """The FP32 model and a cache; of a prediction also the graph that was judged."""
    model = parts.finished.model(parts.given)
    _check(parts, model)
    if parts.kind == "native":
        cell = parts.cell
        name = cell.cache or str(Path(cell.file or "").with_suffix(".cache"))
        shutil.copyfile(parts.finished.file(name), parts.folder / CACHE)
        table = table_of(open_trt_cache(parts.folder / CACHE), calibset=cell.calibset or "")
        write_scales(parts.folder / SCALES, table)
        parts.files[SCALES] = "the scales of the calibration cache, to be read"
    else:
        table = _table(parts)
        cache = cache_of(table, parts.version, algorithm=ENTROPY_2)
        write_trt_cache(parts.folder / CACHE, cache)
    _cache_written(parts)
    _write_graph(parts, model, FP32, "the FP32 model, which TensorRT quantizes by the cache")
    held = _hold(parts, model)
    if predicts(parts.cell):
        graph, _ = implicit_graph(model, table.scales, float_ops=held)
        what = "what was judged: the graph that predicts TensorRT's engine, for onnxruntime"
        _write_graph(parts, graph, PREDICTED, what)
    return model


def _cache_written(parts: Parts) -> None:
    header = open_trt_cache(parts.folder / CACHE).header
    parts.files[CACHE] = f"calibration cache for TensorRT up to 10 ({header})"


def _table(parts: Parts) -> ScaleTable:
    """The cell's scale table, copied as it is."""
    path = parts.finished.file(parts.cell.scales or "")
    table = open_scales(path)
    shutil.copyfile(path, parts.folder / SCALES)
    parts.files[SCALES] = f"scale table: {counted(len(table.taps), 'tensor')}"
    return table


def _check(parts: Parts, graph: Model) -> None:
    """Refuse a graph that isn't the one that was judged."""
    engine = parts.cell.engine
    if engine is not None and engine.fingerprint != graph.fingerprint:
        raise ModelError(
            f"isn't the graph that was judged as {parts.cell.id!r} (its fingerprint is "
            f"{graph.fingerprint}, the report's {engine.fingerprint})",
            where=graph.label,
            next_step="Run calaudit compare again with this release: graphs are made anew.",
        )


def _write_graph(parts: Parts, graph: Model, name: str, what: str) -> None:
    entries = {f"calaudit.{key}": value for key, value in parts.provenance().items()}
    write_graph(with_metadata(graph, entries), parts.folder / name)
    parts.files[name] = what
    if (parts.folder / f"{name}.weights").exists():
        parts.files[f"{name}.weights"] = f"weights of {name}, which needs it beside itself"


def _shapes(parts: Parts, model: Model, drawn: Calibset | None) -> None:
    sizes = {} if drawn is None else {name: spec.shape for name, spec in drawn.inputs.items()}
    if drawn is None and any(None in each.shape for each in model.inputs):
        for record in parts.finished.report.calibsets:
            found = parts.finished.calibset(record.name)
            sizes |= {name: spec.shape for name, spec in found.inputs.items()}
    engine = parts.cell.engine
    fixed = engine is not None and engine.options.get("shapes") == "fixed"
    parts.shapes = plan_profile(model, max_batch=parts.batch_size, sizes=sizes, fixed_shapes=fixed)
    parts.fixed_batch = model.fixed_batch
    parts.subgraphs = len(list(all_graphs(model.proto.graph))) > 1
    inputs = {}
    for each in model.inputs:
        alone = (1, *(size or 1 for size in each.shape))
        shape = parts.shapes.get(each.name) or ShapeRange(alone, alone, alone)
        inputs[each.name] = {
            "type": str(each.dtype),
            "min": list(shape.smallest),
            "opt": list(shape.opt),
            "max": list(shape.largest),
            "free": each.name in parts.shapes,
        }
    write_text(parts.folder / SHAPES, json.dumps(inputs, indent=1, ensure_ascii=False) + "\n")
    parts.files[SHAPES] = "shape profile: the inputs' smallest, usual and largest shapes"


def _plan(parts: Parts) -> None:
    """TensorRT's own engine, where it was kept."""
    name = parts.cell.file or ""
    if not name.endswith(".engine"):
        return
    path = parts.finished.file(name)
    shutil.copyfile(path, parts.folder / PLAN)
    shutil.copyfile(facts_path(path), facts_path(parts.folder / PLAN))
    parts.files[PLAN] = "TensorRT's own engine, bound to that release and GPU"
    parts.files[facts_path(parts.folder / PLAN).name] = "what it is bound to"
