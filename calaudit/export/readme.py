"""README.md of an export: what was judged, and the lines that run it, for each runtime."""

import json
import os
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from calaudit.export.parts import CACHE, FP32, GRAPH, PLAN, PREDICTED, SAMPLES, Parts
from calaudit.formats.engine import facts_path
from calaudit.report.bench.handed import measured_latency
from calaudit.report.index import Index, predicts
from calaudit.report.precision import caveat
from calaudit.report.wording import between, difference, score, unit_name, units
from calaudit.results.comparison import Result, Verdict
from calaudit.results.recommendation import Outcome
from calaudit.runtime.words import counted, visible

_ROWS: Final = 20
"""Gated comparisons that are listed."""
_TACTICS: Final = """own = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
if all(hasattr(getattr(trt, "TacticSource", None), name) for name in own):  # cuDNN needn't be there
    config.set_tactic_sources(sum(1 << int(getattr(trt.TacticSource, name)) for name in own))"""


def readme_text(parts: Parts) -> str:
    """The README of what was written."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # not HTML: names are escaped by `text`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["text"] = _text
    made.filters["quoted"] = _quoted
    made.filters["shell"] = shlex.quote
    made.filters["hold"] = "{}:fp32".format
    place = files("calaudit.export").joinpath("templates", "readme.j2")
    return made.from_string(place.read_text("utf-8")).render(_context(parts))


def told_of(parts: Parts) -> Iterator[str]:
    """What must be known before this engine ships, a sentence each."""
    index, cell = Index(parts.finished.report), parts.cell
    if cell.role == "control":
        yield "A control: it shows what such a calibration set costs, and isn't meant to ship."
    verdict = index.verdict_of(cell.id)
    if verdict is None:
        yield "Nothing of it was gated: no verdict says that it may ship."
    elif verdict != Verdict.PASS:
        gated = [r for r in index.results.values() if r.cell == cell.id and r.gate is not None]
        short = sum(r.verdict == verdict for r in gated)
        yield f"{verdict}: {short} of {counted(len(gated), 'gated comparison')}."
    if predicts(cell):
        yield (
            f"A prediction of {predicts(cell)} was judged, not an engine of TensorRT's: judge that "
            'by backend = "tensorrt" before it ships.'
        )
    told = caveat(cell)
    if told:
        yield f"{told[:1].upper()}{told[1:]}."


def _context(parts: Parts) -> dict[str, Any]:
    cell, report = parts.cell, parts.finished.report
    index = Index(report)
    gated = index.worst(r for r in report.results if r.cell == cell.id and r.gate is not None)
    direct = GRAPH if GRAPH in parts.files and _takes_tensorrt(parts) else ""
    cache = CACHE if CACHE in parts.files else ""
    return {
        "cell": cell,
        "audit": report.audit.name,
        "intro": _intro(parts),
        "warnings": [*told_of(parts), *(_portable(parts, str(each)) for each in parts.notices)],
        "files": parts.files,
        "provenance": parts.provenance(),
        "gated": [_row(index, result) for result in gated[:_ROWS]],
        "more": max(0, len(gated) - _ROWS),
        "measured": measured_latency(index, cell.id),
        "runs": parts.runs_in_onnxruntime,
        "onnxruntime_says": _onnxruntime_says(parts),
        "emulated": _emulated(parts),
        "subgraphs": parts.subgraphs and cell.precision == "fp16",
        "fixed_batch": parts.fixed_batch,
        "batch": parts.batch_size,
        "samples": SAMPLES if SAMPLES in parts.files else "",
        "plan": PLAN if PLAN in parts.files else "",
        "plan_facts": facts_path(Path(PLAN)).name in parts.files,
        "direct": direct,
        "flag": "fp16" if cell.precision == "fp16" else "int8",
        "cache": cache,
        "cache_says": _cache_says(parts),
        "calibrator": parts.calibrator if cache else "",
        "fp32": FP32,
        "shape_flags": _shape_flags(parts),
        "knob_flags": "".join(flag for flag, _ in _knobs(parts)),
        "knobs": "\n".join(line for _, line in _knobs(parts)),
        "tf32": _option(parts, "tf32") == "on",
        "held": parts.held,
        "run_shapes": _flag("shapes", parts, "largest"),
        "tactics": _TACTICS,
        "profile": "\n".join(_profile(parts)),
        "calibration_profile": "\n".join(_calibration_profile(parts)),
    }


def _takes_tensorrt(parts: Parts) -> bool:
    """Whether the graph is one that TensorRT builds: Q/DQ, or float."""
    engine = parts.cell.engine
    style = None if engine is None else engine.options.get("quantization")
    return style in {None, "Q/DQ", "none"}


def _portable(parts: Parts, text: str) -> str:
    """Without the folders of the machine that wrote it."""
    for folder in sorted(_folders(parts), key=lambda one: len(str(one)), reverse=True):
        if folder.name:  # neither the root nor the working folder
            text = text.replace(f"{folder}{os.sep}", "")
    return text


def _folders(parts: Parts) -> Iterator[Path]:
    finished, config = parts.finished, parts.finished.report.audit.config
    known = [finished.path, finished.beside / "model", parts.folder / GRAPH]
    known += [] if parts.given is None else [parts.given]
    tables = [config.get("audit"), *config.get("calibsets", ()), *config.get("scales", ())]
    tables += config.get("engines", ())
    named = [each.get(key) for each in tables if each for key in ("model", "pool", "file")]
    known += [Path(each) for each in named if each and Path(each).is_absolute()]
    for file in known:
        yield from {file.parent, file.absolute().parent, file.resolve().parent}


def _intro(parts: Parts) -> str:
    cell = parts.cell
    what = {
        "qdq": "An INT8 engine as a Q/DQ graph",
        "fp16": "An FP16 engine",
        "implicit": "An FP32 model with a calibration cache, which TensorRT up to 10 quantizes",
        "native": "An FP32 model with a calibration cache of TensorRT's own",
        "foreign": "An engine that was made elsewhere",
    }[parts.kind]
    ranges = f", with ranges of {_text(cell.calibset)} by {cell.way}" if cell.calibset else ""
    if cell.given_ranges:
        ranges = f", with the ranges {_text(cell.given_ranges)}, which were given"
    left = parts.provenance().get("left_in_float")
    ranges += f", and left in float as asked: {_text(left)}" if left else ""
    verdict = Index(parts.finished.report).verdict_of(cell.id)
    judged = "not gated" if verdict is None else f"verdict {verdict}"
    told = parts.finished.report.recommendation
    meant = told and (told.plain if told.outcome == Outcome.KEEP else told.winner)
    why = f" Recommended: {_text(told.sentence)}" if told and meant == cell.id else ""
    return f"{what}{ranges}: {judged}, judged on {_text(cell.backend)}.{why}"


def _row(index: Index, result: Result) -> tuple[str, ...]:
    metric = index.metrics[result.metric]
    unit = unit_name(metric)
    assert result.gate is not None
    return (
        metric.title,
        result.slice,
        units(result),
        score(metric, result.reference),
        score(metric, result.candidate),
        f"{difference(metric, result.drop)} {unit}".rstrip(),
        between(metric, result.low, result.high),
        difference(metric, result.gate.max_drop),
        str(result.verdict or ""),
    )


def _emulated(parts: Parts) -> bool:
    """Whether Q/DQ is to be computed in float: as judged there, and as TensorRT computes it."""
    engine = parts.cell.engine
    fused = engine is not None and engine.kernels == "fused" and parts.cell.backend == "onnxruntime"
    return parts.cell.precision == "int8" and not fused


def _onnxruntime_says(parts: Parts) -> str:
    report, cell = parts.finished.report, parts.cell
    version = report.audit.environment.get("onnxruntime") or "of another release"
    kinds = {each.name: each.backend for each in report.audit.targets}
    if parts.runs_in_onnxruntime == PREDICTED or kinds.get(cell.backend, cell.backend) == (
        "onnxruntime"
    ):
        return (
            f"These lines give the numbers that were judged (onnxruntime {version}, batches of at "
            f"most {1 if parts.fixed_batch else parts.batch_size}):"
        )
    return f"The graph that {_text(cell.backend)} ran and was judged by, on a CPU:"


def _cache_says(parts: Parts) -> str:
    if parts.kind == "qdq":
        return (
            f"For implicit quantization of the FP32 model: `{CACHE}` holds the engine's own "
            f"ranges, and for every other tensor that TensorRT asks for {parts.beyond}. Such an "
            "engine isn't the Q/DQ graph: it rounds elsewhere, and was not judged "
            'here. `int8 = "implicit"` in the audit file judges it.'
        )
    return f"TensorRT quantizes `{FP32}` by the ranges in `{CACHE}`; it needs no data."


def _option(parts: Parts, key: str) -> object:
    """What the engine was built with; None where its record doesn't say."""
    engine = parts.cell.engine
    return None if engine is None else engine.options.get(key)


def _knobs(parts: Parts) -> Iterator[tuple[str, str]]:
    """What the compiler was told: for trtexec, and in Python."""
    if _option(parts, "tf32") != "on":
        yield " --noTF32", "config.clear_flag(trt.BuilderFlag.TF32)"
    if _option(parts, "sparsity"):
        yield " --sparsity=enable", "config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)"
    level = _option(parts, "optimization_level")
    if level is not None:
        yield f" --builderOptimizationLevel={level}", f"config.builder_optimization_level = {level}"


def _shape_flags(parts: Parts) -> str:
    flags = (("minShapes", "smallest"), ("optShapes", "opt"), ("maxShapes", "largest"))
    return "".join(_flag(flag, parts, which) for flag, which in flags)


def _flag(flag: str, parts: Parts, which: str) -> str:
    """`` --minShapes=x:1x3``; empty where no input has free axes."""
    if not parts.shapes:
        return ""
    given = []
    for name, each in parts.shapes.items():
        told = f"'{name}'" if set(name) & set(":,'") else name
        given.append(f"{told}:{'x'.join(map(str, getattr(each, which)))}")
    return " " + shlex.quote(f"--{flag}={','.join(given)}")


def _profile(parts: Parts) -> Iterator[str]:
    if parts.shapes:
        yield "profile = builder.create_optimization_profile()"
        for name, each in parts.shapes.items():
            yield f"profile.set_shape({_quoted(name)}, {each.smallest}, {each.opt}, {each.largest})"
        yield "config.add_optimization_profile(profile)"


def _calibration_profile(parts: Parts) -> Iterator[str]:
    if parts.shapes:
        yield "calibrated = builder.create_optimization_profile()"
        for name, each in parts.shapes.items():
            yield f"calibrated.set_shape({_quoted(name)}, {each.opt}, {each.opt}, {each.opt})"
        yield "config.set_calibration_profile(calibrated)"


def _quoted(name: str) -> str:
    """A name as Python's text."""
    return json.dumps(name, ensure_ascii=False)


def _text(value: object) -> str:
    """A name within Markdown: it adds no markup, cell or line."""
    shown = visible(str(value))
    for character in "\\`*_[]<>|":
        shown = shown.replace(character, f"\\{character}")
    return shown
