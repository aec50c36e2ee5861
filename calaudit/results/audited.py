"""What was asked, and of what: the audit, its metrics, calibration sets, engines and slices.

Names end in ``Record`` where the thing itself is something else: a `CalibsetRecord` tells of
a file. The same thing measured twice is told too: one engine on two backends, one set's ranges by
two estimators.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import MaxLen

from calaudit.results.comparison import Interval
from calaudit.results.foreign import ForeignRecord
from calaudit.results.values import Count, Name, Ordinal, Share, Size, finite, plain, settle
from calaudit.runtime.errors import Notice

Role = Literal["candidate", "control"]
"""A candidate may ship and is held to the gates; a control shows what would happen, and its
verdicts decide nothing."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One output of an engine on two targets."""

    cell: str
    """The id of a cell on a target that is to agree."""
    other: str | None
    """The same engine's cell on the audit's own target; None for the FP32 reference."""
    output: str
    """A model output's name."""
    n: Count
    """Units (samples, or queries)."""
    max_abs_diff: float | None
    """Over all values that are finite on both."""
    k: int | None
    """1 for classes, 10 for rankings; None for other outputs."""
    same_top: float | None
    """Mean share of a unit's `k` highest that are the same on both."""
    verdicts: Count = 0
    """Gated results of the two cells."""
    verdicts_equal: Count = 0
    """Of these: with the same verdict."""
    metric: str | None = None
    """Metric of likeness that compares them, where outputs are no numbers that would."""
    value: float | None = None
    """Its value, the other engine in FP32's place."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedTap:
    """One tap whose ranges differ."""

    tap: str
    """The tensor's name."""
    tensorrt: float | None
    """amax by the backend, TensorRT or another, in the tap's unit."""
    calaudit: float | None
    """amax, in the tap's unit."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ComparedRanges:
    """A backend's own ranges beside those that calaudit's method gives the same set."""

    cell: str
    """With the backend's own ranges."""
    other: str
    """With calaudit's."""
    taps: Count
    """That both have a range of."""
    differing: Count
    """Of these: whose amax differs by more than 1 %."""
    only_tensorrt: Count
    """Taps that only the backend has a range of."""
    only_calaudit: Count
    """Taps that only calaudit has a range of."""
    shown: Annotated[tuple[ComparedTap, ...], MaxLen(10)]
    """Those that differ most, ten at most, the most different first."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file the audit read."""

    name: Name
    """File name, without the folder: a report doesn't depend on where it was made."""
    fingerprint: Name
    """Hash of the content."""


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What engines were built and run on; cells refer to it as their backend."""

    name: Name
    """Of a backend, or of one of the audit's ``[[targets]]``."""
    backend: Name
    """The registered backend: ``name``, unless that is a target's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Its ``gpu`` and the version of its library, where the backend tells them."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the audit file gives it of its backend's keys, such as ``int8`` or ``kernels``."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """The audit's settings, inputs and environment."""

    name: Name
    """As the audit file names it."""
    config: Mapping[str, Any]
    """The audit's settings as JSON values; infinities stand as the texts ``"inf"``, ``"-inf"``."""
    config_fingerprint: Name
    """Hash of `config`."""
    model: Artefact
    """The FP32 model."""
    pool: Artefact
    """The samples."""
    seed: Count
    """Of every draw and resampling."""
    environment: Mapping[str, str | None]
    """Versions (``calaudit``, ``python``, ``numpy``, …), ``platform``, ``cpu``, ``gpu``."""
    ranges: str | None = None
    """Name of the ranges file, which an audit keeps in the folder ``ranges`` beside its report."""
    targets: tuple[TargetRecord, ...] = ()
    """The audit's own first, then those that are to agree with it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", plain(self.config))


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A product (convolution, matrix product) that doesn't run in INT8, or not as requested."""

    node: str
    """Its name, or that of its first output."""
    op_type: str
    """ONNX's operator."""
    asked: str
    """The precision that the graph asks for."""
    got: str | None
    """None where nothing is known of the node."""
    reason: str
    """Why, as far as graph and library tell."""
    macs: Count | None = None
    """Multiply-accumulates per sample; None where the shapes don't tell."""


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """A runnable model: what of it runs quantized, and what stayed float."""

    fingerprint: Name
    """Hash of the engine's content."""
    kernels: Name
    """How INT8 is computed: ``"emulated"`` (float arithmetic on quantized values), ``"fused"``
    (the backend's integer kernels), or ``"float"`` for engines without INT8."""
    quantized_ops: Mapping[str, Count] = field(default_factory=dict)
    """ONNX op type → number of weighted nodes that run in INT8."""
    float_ops: Mapping[str, Count] = field(default_factory=dict)
    """ONNX op type → number of weighted nodes that stayed float."""
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """The backend's options, such as ``threads``; with ranges that depend on the batches of a
    calibration also ``calibration_batch`` and ``calibration_order``."""
    asked_ops: Mapping[str, Count] = field(default_factory=dict)
    """ONNX op type → number of weighted nodes that the graph asks INT8 (or FP16) of."""
    proof: str | None = None
    """Source of the layers' precisions; None: none, `quantized_ops` is what the graph requests."""
    not_as_asked: tuple[NodeRecord, ...] = ()
    """Nodes that don't run in the requested precision."""
    left_float: tuple[NodeRecord, ...] = ()
    """Of INT8 engines: products that INT8 isn't requested of."""
    macs: Count | None = None
    """Multiply-accumulates per sample of all products; None where none is known."""
    int8_macs: Count | None = None
    """Of `macs`: in products that run in INT8; None where it is unknown which do."""
    uncounted: Count = 0
    """Products whose multiply-accumulates are unknown: `macs` and `int8_macs` lack them."""
    exempt: tuple[Name, ...] = ()
    """Products that the audit asks to leave in float, by ``float_ops`` or an exemption."""
    exempt_macs: Count | None = None
    """Of `macs`: in `exempt`; None where none is exempt, or none of theirs is known."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", plain(self.options))

    @property
    def int8_share(self) -> float | None:
        """Share of the multiply-accumulates that run in INT8; None where it is unknown."""
        return None if self.int8_macs is None or not self.macs else self.int8_macs / self.macs

    @property
    def exempt_share(self) -> float | None:
        """Share of the multiply-accumulates left in float as asked; None where it is unknown."""
        return None if self.exempt_macs is None or not self.macs else self.exempt_macs / self.macs


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """The FP32 engine that every cell is compared with. It isn't a cell: it isn't judged."""

    backend: Name
    """What ran it: ``"onnxruntime"``."""
    engine: EngineRecord
    """FP32."""
    predictions: Name | None = None
    """What it answered, from the report's folder."""


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """What a metric's numbers mean. Results refer to it by name."""

    name: Name
    """As audits name it: ``"top1"``, ``"ndcg@10"``."""
    title: Name
    """For people: ``"top-1 accuracy"``."""
    unit: Name
    """Unit of `reference`, `candidate`, `drop`, `low`, `high`. ``"fraction"`` (0 to 1) is shown
    in points: 0.01 is one point."""
    kind: Literal["binary", "mean", "ratio", "set"]
    """Right or wrong per sample, a number per sample, a ratio of sums, or one number per set."""
    higher_is_better: bool
    """Whether a larger value means more quality."""
    interval: Interval | None
    """How its intervals are computed; None for a metric without."""
    convention: str
    """The definition's choices in a sentence: ties, gain, what is left out."""
    per: Name = "sample"
    """What it scores, and `n` of its results counts: ``"sample"``, ``"query"``, ``"image"`` or
    ``"object"``."""
    task: str | None = None
    """Name of its task, which stands before its own, ``"boxes2/ap"``; None where the audit file
    gives the task none."""


@dataclass(frozen=True, slots=True)
class CompositionRow:
    """How much of a calibration set lies in one slice; slices may overlap."""

    slice: Name
    """Its name."""
    n: Count
    """Samples of the set in the slice."""
    share: Share | None
    """`n` over the set's size."""
    pool_share: Share | None
    """The slice's share of the pool."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class CalibsetRecord:
    """One calibration set."""

    name: Name
    """As cells refer to it."""
    kind: str
    """How it was drawn; ``"given"`` for a set that calaudit didn't draw."""
    method: str
    """The drawing in words, such as ``"stratified, equal over noise"``."""
    size: Count
    """Number of samples."""
    composition: tuple[CompositionRow, ...] = ()
    """The slices it holds."""
    kish_n_eff: Size | None = None
    """Kish's effective sample size (Σw)²/Σw², in samples."""
    shortages: tuple[Notice, ...] = ()
    """What couldn't be drawn as asked, and what was done instead."""
    fingerprint: Name | None = None
    """Hash of the ids, data and weights in it; None where unknown."""
    recipe: Name | None = None
    """What it was drawn by: draws of one recipe share it. Its own name for a set that was given."""
    draw: Ordinal | None = None
    """Number of the draw of that recipe, from 1; None for a set that was given."""
    role: Role = "candidate"
    """A candidate may ship; a control is measured for comparison."""
    file: Name | None = None
    """Where it lies, from the report's folder; of a set that was given the file's name."""

    def __post_init__(self) -> None:
        settle(self)


def with_exemption(method: str | None, exemption: str | None) -> str | None:
    """A method as cells' ids and reports have it: ``"minmax+head"``."""
    return method if exemption is None else f"{method}+{exemption}"


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One engine that was judged."""

    id: Name
    """As results refer to it."""
    calibset: Name | None
    """None where no ranges are needed (FP16), they are given, or somebody else made the engine."""
    method: Name | None
    """Distribution → amax: ``"minmax"``, ``"entropy"``, ``"percentile"``, ``"mse"``, …; or
    ``"given"``."""
    precision: Literal["int8", "fp16", "fp32", "unknown"]
    """What it computes in; ``"unknown"`` where somebody else made it and its file doesn't show
    INT8."""
    backend: Name
    """What built and ran it: a backend, or a target by its name; ``"elsewhere"`` where its answers
    were given."""
    ranges_by: str | None
    """Who estimated the ranges: ``"calaudit"``, or the registered backend; None where none are
    needed."""
    status: Literal["judged", "failed", "skipped"]
    """Whether it was judged; if not, `reason` says why."""
    engine: EngineRecord | None
    """None when none could be built."""
    reason: str | None = None
    """Why the cell failed or was skipped."""
    role: Role = "candidate"
    """Its calibration set's, unless its exemption has one of its own."""
    exemption: Name | None = None
    """The audit's exemption that leaves products of it in float; its engine names them."""
    file: Name | None = None
    """The engine, from the report's folder: the Q/DQ graph, or TensorRT's own engine. None where
    it is made as it is needed, as FP16 for onnxruntime, or couldn't be built."""
    scales: Name | None = None
    """Its scale table, from the report's folder."""
    given_ranges: Name | None = None
    """Name of the ranges that the audit file gives it, in place of a calibration set's."""
    graph: Name | None = None
    """The Q/DQ graph that it was built from, from the report's folder: `file` itself where that
    is what runs. None without Q/DQ."""
    cache: Name | None = None
    """The calibration cache that a calibration of TensorRT's own wrote, from the report's
    folder."""
    predictions: Name | None = None
    """What it answered, from the report's folder. None where it wasn't judged."""
    foreign: ForeignRecord | None = None
    """What is known of an engine that somebody else made; None of the audit's own."""

    @property
    def way(self) -> str | None:
        """Its method, and the exemption behind it: ``"minmax+head"``."""
        return with_exemption(self.method, self.exemption)


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One slice of the evaluated samples, or of their objects."""

    name: Name
    """As results refer to it; ``"all"`` holds every sample and comes first. A slice of samples
    holds their objects as well; a slice of objects has results of metrics that score objects."""
    n: Count
    """Evaluated samples in it, or objects: see `unit`."""
    support_ok: bool
    """Whether `n` reaches the slice's minimum support; below it nothing passes."""
    smallest_provable_drop: Mapping[str, float | None] = field(default_factory=dict)
    """Metric → the smallest ``max_drop`` that a slice of this size could pass, in the metric's
    unit; None where unknown."""
    unit: Name = "sample"
    """What is in it: ``"sample"`` (``"image"`` where nothing else is judged than images and their
    objects), or ``"object"`` for a slice of objects."""

    def __post_init__(self) -> None:
        settle(self)
        drops = {name: finite(drop) for name, drop in self.smallest_provable_drop.items()}
        object.__setattr__(self, "smallest_provable_drop", drops)
