"""Engines that somebody else made (``[[engines]]``): opened and checked, then run as they are."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from calaudit.audit.config import AuditConfig
from calaudit.audit.foreign_entry import EngineFile
from calaudit.audit.given_answers import Served, open_given_answers
from calaudit.audit.keys import file_key
from calaudit.audit.plan import ForeignPart
from calaudit.backends.base import BuiltEngine, NodePrecision
from calaudit.calibration.scales import scale_of
from calaudit.formats.answers import AnswersFile
from calaudit.graph.file_ranges import FileRange, left_in_float, ranges_in_file
from calaudit.graph.load import check_pool_matches
from calaudit.graph.macs import sum_macs
from calaudit.graph.model import Model, ModelTensor
from calaudit.graph.placement import plan_qdq
from calaudit.graph.qdq import QdqPlan
from calaudit.graph.quantized import Contents, contents_of, load_quantized, plain_name
from calaudit.results.audited import EngineRecord, NodeRecord
from calaudit.results.foreign import ForeignRecord
from calaudit.results.values import filled
from calaudit.runtime.errors import (
    CalauditError,
    FileFormatError,
    ModelError,
    Notice,
    Problem,
    near,
)
from calaudit.runtime.pool import Pool, Rows
from calaudit.runtime.words import counted, shape_text
from calaudit.tasks.base import EvalSet

_MOST: Final = 4 << 30
"""Bytes of a plan at most: it is read as a whole."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An engine that somebody else made, opened."""

    entry: EngineFile
    path: Path
    part: ForeignPart
    model: Model | None = None
    """Of an ONNX file."""
    contents: Contents | None = None
    """Of an ONNX file: what of it is in INT8."""
    answers: AnswersFile | None = None
    reduced: tuple[Served, ...] = ()
    """Of a file of answers: what it holds in place of outputs."""
    notices: tuple[Notice, ...] = ()
    """Of a file of answers: what there is to say of it."""
    ranges: Mapping[str, FileRange] = field(default_factory=dict)
    """Of an ONNX file: tap → the range that it has of it."""
    needed: tuple[str, ...] = ()
    """Taps of the audit's own engine with the same products in INT8."""

    @property
    def scales(self) -> dict[str, float]:
        """Tap → scale of the symmetric range that covers the file's."""
        return {tap: scale_of(each.amax) for tap, each in self.ranges.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an engine has to fit."""

    pool: Pool
    predicted: Rows
    """Rows that engines answer for, ascending."""
    outputs: Sequence[ModelTensor]
    """The model's outputs that tasks read."""
    eval_sets: Sequence[EvalSet]
    macs: Mapping[str, int | None]
    """Product of the FP32 model → multiply-accumulates per sample."""
    folded: Model
    """The FP32 model, prepared."""
    qdq: QdqPlan
    """Where the audit's own engines are quantized."""


def open_foreign(config: AuditConfig, wanted: Wanted) -> dict[str, Foreign]:
    """Open every engine that somebody else made, and check that it fits the audit.

    Raises
    ------
    CalauditError
        Files that are missing or broken, or that don't fit the pool or the tasks; every problem
        of the first such engine.
    """
    found = {}
    for number, (name, entry) in enumerate(config.engines.items()):
        path = config.resolve(entry.file)
        try:
            found[name] = _opened(entry, path, wanted)
        except CalauditError as error:
            place = f"{config.path}: engines[{number}] ({name})"
            raise type(error).of(
                Problem(p.message, f"{place}: {p.where or path}", p.next_step)
                for p in error.problems
            ) from None
    return found


def _opened(entry: EngineFile, path: Path, wanted: Wanted) -> Foreign:
    if not path.is_file():
        raise FileFormatError("there is no such file", where=path, next_step="Check the path.")
    if entry.kind == "onnx":
        model = load_quantized(path)
        check_pool_matches(model.inputs, wanted.pool.inputs, where=wanted.pool.label)
        _check_outputs({e.name: e.shape for e in model.outputs}, wanted.outputs, path)
        shapes = {name: spec.shape for name, spec in wanted.pool.inputs.items()}
        contents = contents_of(model, shapes, wanted.macs)
        in_int8 = frozenset(plain_name(e.name) for e in contents.products if e.asked == "int8")
        left = tuple(left_in_float(wanted.qdq, in_int8)) if contents.int8 else ()
        part = ForeignPart(model.fingerprint, contents.int8, left)
        ranges = ranges_in_file(wanted.qdq, wanted.folded, model) if contents.int8 else {}
        needed = plan_qdq(wanted.folded, float_ops=left).taps if contents.int8 else ()
        return Foreign(entry, path, part, model, contents, ranges=ranges, needed=needed)
    if entry.kind == "answers":
        part = ForeignPart(file_key(path), False)
        given = open_given_answers(path, wanted.pool, wanted.predicted, wanted.eval_sets)
        read = [each for each in wanted.outputs if each.name in given.outputs]
        _check_outputs(given.file.shapes, read, path, given.outputs)
        return Foreign(
            entry, path, part, answers=given.file, reduced=given.reduced, notices=given.notices
        )
    if path.stat().st_size > _MOST:
        raise FileFormatError(
            "is larger than 4 GiB, which no plan is that can be sent to a worker",
            where=path,
            next_step="Check the path.",
        )
    return Foreign(entry, path, ForeignPart(file_key(path), False))


def _check_outputs(
    found: Mapping[str, tuple[int | None, ...]],
    wanted: Sequence[ModelTensor],
    path: Path,
    instead: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse an engine without what tasks read, or with other sizes of it than FP32 has.

    Parameters
    ----------
    found : mapping
        Output → shape.
    wanted : sequence of ModelTensor
    path : Path
    instead : mapping, optional
        Output → what a file may hold in its place; empty: nothing.
    """
    problems = []
    for each in wanted:
        if each.name not in found:
            message = f"has no output {each.name!r}, which a task reads"
            step = instead.get(each.name) or near(each.name, found)
            problems.append(Problem(message, str(path), step))
        elif not _alike(found[each.name], each.shape):
            sizes, own = (shape_text(shape) for shape in (found[each.name], each.shape))
            message = f"output {each.name} is {sizes} for a sample, and {own} in the FP32 model"
            same = Counter(found[each.name]) == Counter(each.shape)
            step = (
                "Its axes are in another order: transpose it."
                if same
                else "Give an engine of the same model, whose outputs have its names and sizes."
            )
            problems.append(Problem(message, str(path), step))
    if problems:
        raise ModelError.of(problems)


def _alike(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    return len(one) == len(other) and all(
        None in {a, b} or a == b for a, b in zip(one, other, strict=True)
    )


def foreign_record(config: AuditConfig, engine: Foreign, slices: Iterable[str]) -> ForeignRecord:
    """What is known of an engine, for the report."""
    entry = engine.entry
    told = entry.calibrated_on
    known = {*config.calibsets, *config.scales}
    return ForeignRecord(
        name=entry.name,
        kind=entry.kind,
        file=engine.path.name,
        fingerprint=engine.part.fingerprint,
        maker=entry.maker,
        calibrated_on=told,
        names="calibset" if told in known else "slice" if told in set(slices) else None,
    )


def foreign_engine_record(engine: Foreign, built: BuiltEngine | None) -> EngineRecord:
    """What an engine is: by its library's account, by its graph, or nothing but its file.

    Parameters
    ----------
    engine : Foreign
    built : BuiltEngine or None
        None where its answers were given.
    """
    proof = None if built is None or built.account is None else built.account.proof
    nodes = tuple(_by_graph(engine)) if proof is None else proof.nodes
    # of a plan nobody knows what was asked for
    told = "asked" if engine.contents is not None else "got"
    macs = sum_macs((each.macs, each.got == "int8") for each in nodes)
    asked = _counted(each.op_type for each in nodes if getattr(each, told) == "int8")
    int8 = any(each.got == "int8" for each in nodes)
    style: dict[str, str] = {}
    if engine.contents is not None:
        style["quantization"] = engine.contents.style or "none"
        if engine.contents.dynamic and not engine.contents.fixed:
            style["ranges"] = "made anew"
    options = {} if built is None else dict(built.options)
    return EngineRecord(
        engine.part.fingerprint,
        "unknown" if built is None else built.kernels,
        _counted(each.op_type for each in nodes if each.got == "int8"),
        _counted(each.op_type for each in nodes if each.got not in {"int8", None}),
        options={**options, **style},
        asked_ops=asked,
        proof=None if proof is None else proof.source,
        not_as_asked=()
        if proof is None
        else tuple(filled(NodeRecord, each) for each in proof.short_of()),
        left_float=tuple(
            filled(NodeRecord, each)
            for each in nodes
            if int8 and each.asked != "int8" and each.got != "int8"
        ),
        macs=macs.all,
        int8_macs=macs.int8 if nodes else None,
        uncounted=macs.uncounted,
    )


def file_ranges_notices(engine: Foreign, where: str) -> Iterator[Notice]:
    """How predicted harm and experiments read a file's ranges, where they aren't as the audit's.

    Parameters
    ----------
    engine : Foreign
    where : str
        The cell.
    """
    if not engine.part.int8 or (engine.contents is not None and not engine.contents.fixed):
        return
    uneven = sum(each.uneven or each.per_channel for each in engine.ranges.values())
    held = sum(tap in engine.ranges for tap in engine.needed)
    told = [
        f"its file has ranges of {held} of the {len(engine.needed)} tensors that the audit's own "
        "engine of these products quantizes: predicted harm tells of these"
        if held < len(engine.needed)
        else "",
        f"{counted(uneven, 'range')} of {len(engine.ranges)} "
        f"{'reaches' if uneven == 1 else 'reach'} further on one side of 0, or differ by channel: "
        "predicted harm takes their own steps, and experiments the symmetric ranges that cover "
        "them, whose steps are wider"
        if uneven
        else "",
    ]
    for message in filter(None, told):
        yield Notice("file_ranges", message, where)


def fp32_notices(engine: Foreign, fp32: Model, where: str) -> Iterator[Notice]:
    """That an engine is the FP32 model itself, which nothing was quantized in.

    Parameters
    ----------
    engine : Foreign
    fp32 : Model
    where : str
        The cell.
    """
    if engine.model is None:
        return
    # Of an old opset the FP32 model has been converted, and has another fingerprint.
    same = engine.model.fingerprint == fp32.fingerprint
    if same or file_key(engine.path) == file_key(Path(fp32.label)):
        message = (
            f"{engine.path.name} is the FP32 model itself: nothing in it is quantized, so that its "
            "drops say nothing about INT8; name the file that the quantizer wrote"
        )
        yield Notice("fp32_itself", message, where)


def _by_graph(engine: Foreign) -> Iterator[NodePrecision]:
    for each in () if engine.contents is None else engine.contents.products:
        yield NodePrecision(each.name, each.op_type, each.asked, each.asked, each.reason, each.macs)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
