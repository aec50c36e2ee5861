"""What an audit found, as frozen values: the records that report.json is made of.

Every value is plain: text, integers, floats, ``None``. A number that isn't finite is ``None``, so
that JSON never holds NaN; numpy scalars become Python's. Orders are meaningful and kept:
`Report.metrics` starts with the headline metric, slices with the slice of everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from calaudit.errors import Notice
from calaudit.report.compared import ComparedRangesRecord
from calaudit.report.faults import AttributionRecord, GapRecord, ScreenedRecord
from calaudit.report.plain import finite, plain, settle
from calaudit.report.rankings import ExemplarsRecord, RankingRecord

Verdict = Literal["PASS", "REGRESSED", "INCONCLUSIVE"]
"""What a comparison, or the whole audit, amounts to."""

Role = Literal["candidate", "control"]
"""A candidate may ship and is held to the gates; a control shows what would happen, and its
verdicts decide nothing."""

Interval = Literal["tango", "tango-clustered", "bootstrap-t", "clopper-pearson", "jackknife"]
"""How an interval was computed."""

ALL = "all"
"""Name of the slice that holds every evaluated sample."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file the audit read."""

    name: str
    """File name, without the folder: a report doesn't depend on where it was made."""
    fingerprint: str
    """Hash of the content."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What was asked, of what, and where it ran."""

    name: str
    config: Mapping[str, Any]
    """The audit's settings as JSON values; infinities stand as the texts ``"inf"``, ``"-inf"``."""
    config_fingerprint: str
    model: Artefact
    pool: Artefact
    seed: int
    environment: Mapping[str, str | None]
    """Versions (``calaudit``, ``python``, ``numpy``, …), ``platform``, ``cpu``, ``gpu``."""
    ranges: str | None = None
    """Name of the ranges file, which an audit keeps in the folder ``ranges`` beside its report."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", plain(self.config))


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A weighted node that an engine runs otherwise than its graph asks."""

    node: str
    op_type: str
    asked: str
    got: str | None
    """None where no layer of the engine names the node."""
    reason: str


@dataclass(frozen=True, slots=True)
class AgreementRecord:
    """One output of an engine on two backends."""

    cell: str
    other: str | None
    """The same engine's cell on the other backend; None for the FP32 reference."""
    output: str
    n: int
    """Units (samples, or queries)."""
    max_abs_diff: float | None
    """Over all values that are finite on both."""
    k: int | None
    """1 for classes, 10 for rankings; None for other outputs."""
    same_top: float | None
    """Mean share of a unit's `k` highest that are the same on both."""
    verdicts: int = 0
    """Gated results of the two cells."""
    verdicts_equal: int = 0
    """Of these: with the same verdict."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """A runnable model: what of it runs quantized, and what stayed float."""

    fingerprint: str
    """Hash of the engine's content."""
    kernels: str
    """How INT8 is computed: ``"emulated"`` (float arithmetic on quantized values), ``"fused"``
    (the backend's integer kernels), or ``"float"`` for engines without INT8."""
    quantized_ops: Mapping[str, int] = field(default_factory=dict)
    """ONNX op type → number of weighted nodes that run in INT8."""
    float_ops: Mapping[str, int] = field(default_factory=dict)
    """ONNX op type → number of weighted nodes that stayed float."""
    options: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """The backend's options, such as ``threads``."""
    asked_ops: Mapping[str, int] = field(default_factory=dict)
    """ONNX op type → number of weighted nodes that the graph asks INT8 (or FP16) of."""
    proof: Literal["builder's layer report", "engine inspector"] | None = None
    """Who said what the layers run in; None: nobody, `quantized_ops` is what the graph asks."""
    not_as_asked: tuple[NodeRecord, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", plain(self.options))


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """The FP32 engine that every cell is compared with. It isn't a cell: it isn't judged."""

    backend: str
    engine: EngineRecord


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """What a metric's numbers mean. Results refer to it by name."""

    name: str
    """As audits name it: ``"top1"``, ``"ndcg@10"``."""
    title: str
    """For people: ``"top-1 accuracy"``."""
    unit: str
    """Unit of `reference`, `candidate`, `drop`, `low`, `high`. ``"fraction"`` (0 to 1) is shown
    in points: 0.01 is one point."""
    kind: Literal["binary", "mean", "ratio", "set"]
    """Right or wrong per sample, a number per sample, a ratio of sums, or one number per set."""
    higher_is_better: bool
    interval: Interval | None
    """How its intervals are computed; None for a metric without."""
    convention: str
    """The definition's choices in a sentence: ties, gain, what is left out."""


@dataclass(frozen=True, slots=True)
class CompositionRow:
    """How much of a calibration set lies in one slice; slices may overlap."""

    slice: str
    n: int
    """Samples of the set in the slice."""
    share: float | None
    """`n` over the set's size."""
    pool_share: float | None
    """The slice's share of the samples that could have been drawn."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class CalibsetRecord:
    """One calibration set."""

    name: str
    kind: Literal["uniform", "stratified", "skewed", "coverage", "given"]
    """How it was drawn; ``"given"`` for a set that calaudit didn't draw."""
    method: str
    """The drawing in words, such as ``"stratified, equal over noise"``."""
    size: int
    """Number of samples."""
    composition: tuple[CompositionRow, ...] = ()
    kish_n_eff: float | None = None
    """Kish's effective sample size (Σw)²/Σw², in samples."""
    shortages: tuple[Notice, ...] = ()
    """What couldn't be drawn as asked, and what was done instead."""
    fingerprint: str | None = None
    recipe: str | None = None
    """What it was drawn by: draws of one recipe share it. Its own name for a set that was given."""
    draw: int | None = None
    """Number of the draw of that recipe, from 1; None for a set that was given."""
    role: Role = "candidate"
    file: str | None = None
    """Where it lies, from the report's folder; of a set that was given the file's name."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One engine that was judged."""

    id: str
    calibset: str | None
    """None where no ranges are needed (FP16)."""
    method: str | None
    """Distribution → amax: ``"minmax"``, ``"entropy"``, ``"percentile"``, ``"mse"``, …"""
    precision: Literal["int8", "fp16", "fp32"]
    backend: str
    ranges_by: Literal["calaudit", "tensorrt"] | None
    """Who estimated the ranges."""
    status: Literal["judged", "failed", "skipped"]
    engine: EngineRecord | None
    """None when none could be built."""
    reason: str | None = None
    """Why the cell failed or was skipped."""
    role: Role = "candidate"
    """Its calibration set's."""
    file: str | None = None
    """The engine, from the report's folder: the Q/DQ graph, or TensorRT's own engine. None where
    it is made as it is needed, as FP16 for onnxruntime, or couldn't be built."""
    scales: str | None = None
    """Its scale table, from the report's folder."""


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """One slice of the evaluated samples."""

    name: str
    n: int
    support_ok: bool
    """Whether `n` reaches the slice's minimum support; below it nothing passes."""
    smallest_provable_drop: Mapping[str, float | None] = field(default_factory=dict)
    """Metric → the smallest ``max_drop`` that a slice of this size could pass, in the metric's
    unit; None where unknown."""

    def __post_init__(self) -> None:
        settle(self)
        drops = {name: finite(drop) for name, drop in self.smallest_provable_drop.items()}
        object.__setattr__(self, "smallest_provable_drop", drops)


@dataclass(frozen=True, slots=True)
class Flips:
    """Samples whose rightness changed."""

    lost: int
    """Right under FP32, wrong under the candidate."""
    gained: int
    """Wrong under FP32, right under the candidate."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a result must keep to."""

    max_drop: float
    """Largest drop that is accepted, in the metric's unit."""
    max_relative_drop: float | None = None
    """The same as a share of `reference`, where the gate was given so."""
    min_reference: float | None = None
    """The least `reference` with which it may pass; the most, where lower is better."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One metric of one cell on one slice, against FP32 on the same samples."""

    cell: str
    slice: str
    metric: str
    n: int
    """Samples (queries, for ranking) that the numbers rest on."""
    reference: float | None
    candidate: float | None
    drop: float | None
    """Positive when quality is lost, whichever way the metric points."""
    low: float | None
    high: float | None
    level: float | None
    """Confidence level of (`low`, `high`), such as 0.95."""
    interval: Interval | None
    """None where none could be computed."""
    flips: Flips | None = None
    """Of a binary metric."""
    p_value: float | None = None
    """One-sided, of "the drop is at most `margin`"."""
    p_adjusted: float | None = None
    """With a gate: Holm's correction over the gated results of its `family`. Without: Benjamini
    and Yekutieli's, over all such results of this metric."""
    gate: Gate | None = None
    """None: the result informs and doesn't count."""
    verdict: Verdict | None = None
    n_needed: int | None = None
    """Samples that aim at a chance of 80 % for an inconclusive result to be decided."""
    one_sided_low: float | None = None
    """Lower bound of the drop at one-sided level 1 − `alpha`."""
    one_sided_high: float | None = None
    """Upper bound of the drop at one-sided level 1 − `alpha`: what the gate is held against."""
    alpha: float | None = None
    margin: float = 0.0
    """The drop that `p_value` tests against, in the metric's unit."""
    n_changed: int | None = None
    """Samples whose score changed at all."""
    n_left_out: int = 0
    """Samples of the slice without a score under FP32, such as queries without a relevant item."""
    n_broken: int = 0
    """Samples that the cell's engine gave no finite output for."""
    n_clusters: int | None = None
    """Clusters that the samples come from, of which at most 2,048 are told apart; None where every
    sample is independent."""
    design_effect: float | None = None
    """Variance of the drop over that of as many independent samples; None where unknown."""
    joint_low: float | None = None
    """Lower end that holds for all results at once that claims are made about: those with a gate;
    without any gate, those of the headline metric. With `high` it makes an interval that holds for
    a drop that was picked as the largest. None where none is known."""
    reason: str | None = None
    """Why the verdict is inconclusive, in a few words."""
    family: str | None = None
    """What `p_adjusted` corrects for: ``"candidates"``, all gated results that decide the audit;
    ``"controls"``; or, without a gate, ``"screening of METRIC"``."""
    family_size: int | None = None
    """Results in it that have a p-value."""
    standard_error: float | None = None
    """Of the drop."""
    n_effective: float | None = None
    """Independent samples of equal weight that the samples amount to."""
    smallest_provable_drop: float | None = None
    """What as many samples could certify if none had changed; no smaller gate passes, but for
    independent right/wrong scores. None where nothing bounds what a sample may lose."""
    n_to_prove: int | None = None
    """Samples that would be enough for the gate, if none changed."""

    def __post_init__(self) -> None:
        settle(self)


@dataclass(frozen=True, slots=True)
class Report:
    """All that an audit found. Make one with :func:`calaudit.report.verdicts.assemble`."""

    audit: AuditRecord
    metrics: tuple[MetricRecord, ...]
    """The first is the headline metric."""
    reference: ReferenceRecord
    calibsets: tuple[CalibsetRecord, ...]
    cells: tuple[CellRecord, ...]
    slices: tuple[SliceRecord, ...]
    results: tuple[ResultRecord, ...]
    """In the order of their cell, slice and metric."""
    verdict: Verdict
    warnings: tuple[Notice, ...]
    calaudit_version: str
    created: str
    """ISO 8601, UTC."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Stage → seconds of wall time. With `created`, all that differs between equal runs."""
    ranking_flow: tuple[RankingRecord, ...] = ()
    """Of ranking tasks: losses by cause and exposure that moved, per cell and cut."""
    exemplars: tuple[ExemplarsRecord, ...] = ()
    """Samples that flip under most engines, per metric."""
    attribution: tuple[AttributionRecord, ...] = ()
    """Drops in INT8's price, what the set adds, and the luck of the draw."""
    gaps: tuple[GapRecord, ...] = ()
    """The worst slice of each cell against everyone else."""
    screening: tuple[ScreenedRecord, ...] = ()
    """Results without a gate that lose more than chance explains, the surest loss first."""
    agreement: tuple[AgreementRecord, ...] = ()
    """Of engines run on two backends: how near their outputs are, per output."""
    compared_ranges: tuple[ComparedRangesRecord, ...] = ()
    """Where TensorRT's own ranges differ from calaudit's of the same sets."""

    def _repr_html_(self) -> str:
        """What notebooks show: verdict, findings, heat map."""
        from calaudit.report.html_notebook import notebook_html

        return notebook_html(self)
