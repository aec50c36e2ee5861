"""Reports for tests: one as audits make them, and a hypothesis strategy for any."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from calaudit.results.audited import (
    Agreement,
    Artefact,
    AuditRecord,
    CalibsetRecord,
    CellRecord,
    ComparedRanges,
    ComparedTap,
    CompositionRow,
    EngineRecord,
    MetricRecord,
    ReferenceRecord,
    SliceRecord,
)
from calaudit.results.bench import BenchRecord
from calaudit.results.comparison import Flips, Gate, Result, Verdict
from calaudit.results.drops import (
    Attribution,
    BestElsewhere,
    Exemplar,
    Exemplars,
    Gap,
    Part,
    Said,
    Screened,
)
from calaudit.results.explanation import (
    Alike,
    Cause,
    CurvePoint,
    Explanation,
    OpTrial,
    Suspect,
)
from calaudit.results.harm import CellHarm, HarmRank, HarmRecord, SliceHarm, TapHarm
from calaudit.results.pictures import Pictures
from calaudit.results.rankings import (
    Flow,
    MovedItem,
    RankingFlow,
    RankingLoss,
    RankingSlice,
)
from calaudit.results.recommendation import (
    Gain,
    Limit,
    Option,
    Outcome,
    RangeBound,
    Recommendation,
    Remedy,
    Shortage,
)
from calaudit.results.report import Report, assemble
from calaudit.runtime.errors import Notice
from tests.report.benched import benches
from tests.report.pictured import any_pictures

ENGINE = EngineRecord(
    "e1", "emulated", {"Conv": 2, "MatMul": 1}, {"Softmax": 1}, {"threads": 2, "arena": False}
)
ENVIRONMENT = {
    "calaudit": "0.1.0",
    "python": "3.11.7",
    "numpy": "2.1.0",
    "onnxruntime": "1.20.0",
    "platform": "Linux x86_64",
    "cpu": "any",
    "gpu": None,
}
AUDIT = AuditRecord(
    "digits",
    {"audit": {"seed": 0}, "slices": [{"by": "noise", "edges": [0.1, 0.4]}]},
    "c1",
    Artefact("digits.onnx", "m1"),
    Artefact("digits.h5", "p1"),
    0,
    ENVIRONMENT,
)
TOP1 = MetricRecord(
    "top1", "top-1 accuracy", "fraction", "binary", True, "tango", "ties count as wrong"
)
NLL = MetricRecord(
    "nll", "negative log-likelihood", "nats", "mean", False, "bootstrap-t", "natural logarithm"
)
REFERENCE = ReferenceRecord("onnxruntime", EngineRecord("f1", "float", {}, {"Conv": 2}))
WHEN = datetime(2026, 11, 3, 12, 0, 0, tzinfo=UTC)


def calibset(name: str, size: int = 128) -> CalibsetRecord:
    return CalibsetRecord(
        name,
        "stratified",
        f"stratified, {name}",
        size,
        (CompositionRow("noise ≥ 0.4", 0, 0.0, 0.25),),
        float(size),
    )


def cell(calibset: str | None, method: str | None = "minmax", **changes: object) -> CellRecord:
    made = CellRecord(
        f"{calibset}/{method}",
        calibset,
        method,
        "int8",
        "onnxruntime",
        "calaudit",
        "judged",
        ENGINE,
    )
    return replace(made, **changes)


def result(
    cell: str,
    slice_name: str,
    drop: float,
    verdict: str | None,
    *,
    n: int = 1000,
    half: float = 0.013,
    max_drop: float | None = 0.02,
    metric: str = "top1",
    n_needed: int | None = None,
) -> Result:
    """An interval of ±`half`, and one that reaches twice as low for all results at once."""
    return Result(
        cell,
        slice_name,
        metric,
        n,
        0.95,
        0.95 - drop,
        drop,
        drop - half,
        drop + half,
        0.95,
        "tango",
        Flips(max(0, round(drop * n)) + 3, 3),
        0.01,
        0.04,
        None if max_drop is None else Gate(max_drop),
        verdict,
        n_needed,
        joint_low=drop - 2 * half,
    )


def report(
    results: list[Result] | None = None,
    *,
    metrics: tuple[MetricRecord, ...] = (TOP1,),
    cells: tuple[CellRecord, ...] | None = None,
    slices: tuple[SliceRecord, ...] | None = None,
    warnings: tuple[Notice, ...] = (),
    ranking_flow: tuple[RankingFlow, ...] = (),
    exemplars: tuple[Exemplars, ...] = (),
    pictures: tuple[Pictures, ...] = (),
    agreement: tuple[Agreement, ...] = (),
    compared_ranges: tuple[ComparedRanges, ...] = (),
    harm: HarmRecord | None = None,
    explanations: tuple[Explanation, ...] = (),
    recommendation: Recommendation | None = None,
    bench: BenchRecord | None = None,
) -> Report:
    """A digits audit: two sets, two methods, the slice of everything and two noise levels."""
    if results is None:
        results = SAMPLE
    if cells is None:
        cells = tuple(cell(c, m) for c in ("clean", "equal") for m in ("minmax", "mse"))
    if slices is None:
        names = dict.fromkeys(["all", *(r.slice for r in results)])
        slices = tuple(SliceRecord(name, 1000, True, {"top1": 0.003}) for name in names)
    made = assemble(
        audit=AUDIT,
        metrics=metrics,
        reference=REFERENCE,
        calibsets=[
            replace(calibset(name), role=role)
            for name, role in dict.fromkeys((c.calibset, c.role) for c in cells)
            if name
        ],
        cells=cells,
        slices=slices,
        results=results,
        warnings=warnings,
        ranking_flow=ranking_flow,
        exemplars=exemplars,
        pictures=pictures,
        agreement=agreement,
        compared_ranges=compared_ranges,
        harm=harm,
        timings={"fp32": 1.5, "total": 12.25},
        created=WHEN,
    )
    return replace(made, explanations=explanations, recommendation=recommendation, bench=bench)


AGREEMENT = Agreement(
    "clean/minmax", "clean/mse", "logits", 1000, 2.5e-4, 1, 0.999, verdicts=3, verdicts_equal=3
)


RANGES = ComparedRanges(
    "clean/minmax", "clean/mse", 23, 1, 0, 2, (ComparedTap("image", 1.0, 1.25),)
)


RANKING = RankingFlow(
    "clean/minmax",
    "scores",
    10,
    1443,
    1155,
    (
        RankingSlice(
            "all",
            704,
            0.0,
            0.31,
            Flow(7040, 6100, 300, 90, 210, 340),
            (RankingLoss("top1", 0.012, 0.007, 0.001, 0.004, 0.93, 0.95),),
        ),
    ),
    (MovedItem("Solaris (1972)", 41.0, 12.5, 30.0, True),),
    (MovedItem("Star Wars (1977)", 300.0, 340.0, 583.0, False),),
)
EXEMPLARS = Exemplars(
    "top1", "sample", 4, 0.0, 2, (Exemplar("img-7", 3, 0, 1.0, 0.75, ("noise ≥ 0.4",)),)
)
HARM = HarmRecord(
    "split = 'calibration'",
    600,
    512,
    23,
    (
        SliceHarm("all", 512, 0.003),
        SliceHarm("noise < 0.4", 380, 0.0021),
        SliceHarm("noise ≥ 0.4", 132, 0.0042),
    ),
    0.0045,
    (
        CellHarm(
            "clean/minmax",
            (0.02, 0.0, 0.21),
            (0.004, 0.0035, 0.0051),
            (0.013, 0.004, 0.11),
            (
                TapHarm("image", 0.62, (0.019, 0.0, 0.2), (0.0001, 0.0002, 0.0001)),
                TapHarm("hidden", 3.0, (0.001, 0.0, 0.01), (0.002, 0.0018, 0.003)),
            ),
        ),
        CellHarm(
            "equal/minmax",
            (0.0, 0.0, 0.0003),
            (0.0051, 0.0061, 0.0049),
            (0.005, 0.0052, None),
            (TapHarm("hidden", 4.1, (0.0, 0.0, 0.0003), (0.004, 0.005, 0.0041)),),
        ),
    ),
    (HarmRank(None, 0.9, 0.002, 8, 3), HarmRank("top1", 0.31, 0.2, 8, 3)),
    "ranges/slices-0123456789abcdef.h5",
)
EXPLANATION = Explanation(
    "clean/minmax",
    "noise ≥ 0.4",
    "top1",
    Cause.RANGES,
    "The range of image that clean with minmax has, 0.62, clips 38 % of its values on noise ≥ 0.4.",
    Part(0.061, 0.048, 0.074),
    Part(0.058, 0.031, 0.09),
    400,
    0.02,
    "equal/minmax",
    ("image",),
    Part(0.055, 0.03, 0.085),
    Part(0.003, -0.01, 0.018),
    Part(0.057, 0.03, 0.088),
    (),
    (Alike("clean/mse", "noise ≥ 0.4", Part(0.02, 0.01, 0.04), Part(0.003, -0.01, 0.012)),),
    (
        Suspect("image", 0.62, 1.0, 0.9, 0.2, 0.001, 0.98, 0.38, 127, 0.5),
        Suspect("hidden", 3.0, 2.5, 0.1, 0.02, 0.012, 0.0, 0.0, 60),
    ),
    (
        CurvePoint(0, (), Part(0.058, 0.031, 0.09)),
        CurvePoint(1, ("image",), Part(0.003, -0.01, 0.018)),
        CurvePoint(2, ("hidden",), Part(0.002, -0.01, 0.017)),
    ),
    (OpTrial("conv1", "Conv", Part(0.004, -0.01, 0.02), Part(0.05, 0.02, 0.08)),),
    False,
    0.95,
    6,
    "onnxruntime 1.32.0, emulated",
    7,
    1.25,
)

RECOMMENDATION = Recommendation(
    Outcome.SHIP,
    Verdict.PASS,
    "Ship equal/minmax: it passes every gate on the evaluated samples.",
    "equal/minmax",
    Remedy.OTHER_SET,
    "clean/minmax",
    ("equal/mse",),
    "split = 'calibration'",
    800,
    (
        Option(
            "clean/minmax", Remedy.PLAIN_SET, "clean/minmax", 0.2, "noise ≥ 0.4", "top1", 0.058,
            2.8, False,
        ),
        Option(
            "equal/minmax", Remedy.OTHER_SET, "equal/minmax", 0.02, "noise ≥ 0.4", "top1", 0.004,
            0.15, True, "calibsets/equal.h5",
        ),
        Option("minimax", Remedy.FREE_RANGES, None, 0.012, None, None, None, None, None),
    ),
    (Gain("noise ≥ 0.4", "top1", 0.061, 0.004, Part(0.057, 0.04, 0.074), 0.95),),
    RangeBound(
        0.0115, 0.012, 0.04, "equal/mse", 0.015, 0.2, (Limit("noise ≥ 0.4", 0.8),), 128
    ),
    (Shortage("noise < 0.4", "top1", 60, 150, "too few units"),),
    0.0,
    ("ops in float: nothing was left to gain",),
)  # fmt: skip

SAMPLE = [
    result("clean/minmax", "all", 0.012, "PASS", half=0.004),
    result("clean/minmax", "noise < 0.4", 0.001, "PASS", half=0.004),
    result("clean/minmax", "noise ≥ 0.4", 0.061, "REGRESSED"),
    result("clean/mse", "all", 0.006, "PASS", half=0.004),
    result("clean/mse", "noise < 0.4", 0.0, "PASS", half=0.004),
    result("clean/mse", "noise ≥ 0.4", 0.02, "INCONCLUSIVE", n_needed=1200),
    result("equal/minmax", "all", 0.003, "PASS", half=0.004),
    result("equal/minmax", "noise < 0.4", -0.002, "PASS", half=0.004),
    result("equal/minmax", "noise ≥ 0.4", 0.004, "PASS"),
    result("equal/mse", "all", 0.002, "PASS", half=0.004),
    result("equal/mse", "noise < 0.4", 0.002, "PASS", half=0.004),
    result("equal/mse", "noise ≥ 0.4", 0.003, "PASS"),
]

_text = st.text(min_size=1, max_size=20)
_number = st.none() | st.floats()
_interval = st.sampled_from(
    [None, "tango", "tango-clustered", "bootstrap-t", "clopper-pearson", "jackknife"]
)
_share = st.none() | st.floats(0, 1)
_count = st.integers(0, 10**9)
_verdict = st.sampled_from(["PASS", "REGRESSED", "INCONCLUSIVE", None])
_role = st.sampled_from(["candidate", "control"])
_notices = st.lists(st.builds(Notice, _text, st.text(), st.none() | st.text()), max_size=3)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_metrics = st.builds(
    MetricRecord,
    _text,
    _text,
    st.sampled_from(["fraction", "nats", "items"]),
    st.sampled_from(["binary", "mean", "ratio", "set"]),
    st.booleans(),
    _interval,
    st.text(),
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Any report that is consistent: whatever names, numbers, gaps and verdicts."""
    sets = draw(
        st.lists(
            st.builds(
                CalibsetRecord,
                _text,
                st.sampled_from(["uniform", "stratified", "skewed", "coverage", "given"]),
                st.text(),
                _count,
                st.lists(st.builds(CompositionRow, _text, _count, _share, _share), max_size=2).map(
                    tuple
                ),
                st.none() | st.floats(0),
                _notices.map(tuple),
                st.none() | _text,
                st.none() | _text,
                st.none() | st.integers(1, 100),
                _role,
            ),
            max_size=3,
            unique_by=lambda each: each.name,
        )
    )
    names = st.sampled_from([each.name for each in sets]) if sets else st.none()
    cells = draw(
        st.lists(
            st.builds(
                CellRecord,
                _text,
                names,
                st.none() | _text,
                st.sampled_from(["int8", "fp16", "fp32"]),
                _text,
                st.sampled_from(["calaudit", "tensorrt", None]),
                st.sampled_from(["judged", "failed", "skipped"]),
                st.none() | st.just(ENGINE),
                st.none() | st.text(),
                _role,
            ),
            max_size=3,
            unique_by=lambda each: each.id,
        )
    )
    slices = draw(
        st.lists(
            st.builds(
                SliceRecord,
                st.just("all") | _text,
                _count,
                st.booleans(),
                st.dictionaries(_text, _number, max_size=2),
            ),
            max_size=3,
            unique_by=lambda each: each.name,
        )
    )
    metrics = draw(st.lists(_metrics, min_size=1, max_size=2, unique_by=lambda each: each.name))
    flows, exemplars, faults, gaps, screened, why, pictures = [], [], [], [], [], [], []
    harm, told, bench = None, None, None
    if cells and slices and draw(st.booleans()):
        harm = draw(_harm(cells, slices, metrics))
        slice_names = st.sampled_from([each.name for each in slices])
        metric_names = st.sampled_from([each.name for each in metrics])
        flows = draw(_rankings(cells, slice_names, metric_names))
        exemplars = draw(st.lists(_exemplars(slice_names, metric_names), max_size=1))
        if sets:
            faults = draw(_attributions(sets, slice_names, metric_names))
        gaps = draw(_gaps(cells, slice_names, metric_names))
        cell_names = st.sampled_from([each.id for each in cells])
        screened = draw(
            st.lists(st.builds(Screened, cell_names, slice_names, metric_names), max_size=1)
        )
        seen = any_pictures(cell_names, slice_names, metric_names)
        pictures = draw(st.lists(seen, max_size=1))
        why = draw(st.lists(_explanations(cell_names, slice_names, metric_names), max_size=1))
        told = draw(st.none() | _recommendations(cell_names, slice_names, metric_names))
        bench = draw(st.none() | benches(cell_names | st.just("fp32")))
    keys = [(c.id, s.name, m.name) for c in cells for s in slices for m in metrics]
    chosen = draw(st.permutations(keys)) if keys else []
    results = [draw(_result(*key)) for key in chosen[: draw(st.integers(0, 6))]]
    made = assemble(
        audit=replace(AUDIT, name=draw(_text), config=draw(st.dictionaries(_text, _json))),
        metrics=metrics,
        reference=REFERENCE,
        calibsets=sets,
        cells=cells,
        slices=slices,
        results=results,
        warnings=draw(_notices),
        ranking_flow=flows,
        exemplars=exemplars,
        pictures=pictures,
        attribution=faults,
        gaps=gaps,
        screening=screened,
        harm=harm,
        timings=draw(st.dictionaries(_text, st.floats(0, 1e6), max_size=2)),
        created=draw(st.datetimes(timezones=st.just(UTC), min_value=datetime(1900, 1, 1))),
    )
    return replace(made, explanations=tuple(why), recommendation=told, bench=bench)


@st.composite
def _harm(
    draw: st.DrawFn,
    cells: list[CellRecord],
    slices: list[SliceRecord],
    metrics: list[MetricRecord],
) -> HarmRecord:
    size = st.floats(0, 1e9)
    of_slices = st.tuples(*[size] * len(slices))
    taps = st.lists(st.builds(TapHarm, _text, size, of_slices, of_slices), max_size=2).map(tuple)
    measured = st.tuples(*[st.none() | size] * len(slices))
    names = st.none() | st.sampled_from([each.name for each in metrics])
    correlation = st.none() | st.floats(-1, 1)
    rank = st.builds(HarmRank, names, correlation, _share, _count, _count)
    return HarmRecord(
        draw(st.text()),
        draw(_count),
        draw(_count),
        draw(_count),
        tuple(draw(st.builds(SliceHarm, st.just(each.name), _count, size)) for each in slices),
        draw(st.none() | size),
        tuple(
            draw(st.builds(CellHarm, st.just(each.id), of_slices, of_slices, measured, taps))
            for each in cells
        ),
        tuple(draw(st.lists(rank, max_size=2))),
        draw(st.none() | _text),
    )


def _explanations(
    cells: st.SearchStrategy[str], slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[Explanation]:
    part = st.builds(Part, _number, _number, _number)
    size, share, names = st.floats(0, 1e9), st.floats(0, 1), st.lists(_text, max_size=2).map(tuple)
    suspect = st.builds(
        Suspect, _text, size, size, share, size, size, share, share, _count, st.none() | size
    )
    return st.builds(
        Explanation,
        cells,
        slices,
        metrics,
        st.sampled_from(list(Cause)),
        _text,
        part,
        st.none() | part,
        _count,
        st.none() | st.floats(0.001, 1),
        st.none() | _text,
        names,
        st.none() | part,
        st.none() | part,
        st.none() | part,
        names,
        st.lists(st.builds(Alike, cells, slices, part, part), max_size=1).map(tuple),
        st.lists(suspect, max_size=2).map(tuple),
        st.lists(st.builds(CurvePoint, _count, names, part), max_size=2).map(tuple),
        st.lists(
            st.builds(OpTrial, _text, _text, st.none() | part, st.none() | part), max_size=1
        ).map(tuple),
        st.booleans(),
        st.sampled_from([0.9, 0.95]),
        st.integers(1, 100),
        st.none() | _text,
        _count,
        size,
    )


def _recommendations(
    cells: st.SearchStrategy[str], slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[Recommendation]:
    part = st.builds(Part, _number, _number, _number)
    size, share, texts = st.floats(0, 1e9), st.floats(0, 1), st.lists(_text, max_size=2).map(tuple)
    remedies = st.sampled_from(list(Remedy))
    option = st.builds(
        Option,
        _text,
        remedies,
        st.none() | cells,
        st.none() | size,
        st.none() | slices,
        st.none() | metrics,
        _number,
        _number,
        st.none() | st.booleans(),
        st.none() | _text,
        texts,
    )
    limits = st.lists(st.builds(Limit, slices, share), max_size=2).map(tuple)
    bound = st.builds(
        RangeBound, size, size, share, st.none() | _text, st.none() | size, st.none() | size,
        limits, _count,
    )  # fmt: skip
    gains = st.builds(Gain, slices, metrics, _number, _number, part, st.sampled_from([0.9, 0.95]))
    short = st.builds(Shortage, slices, metrics, _count, st.none() | _count, st.none() | _text)
    return st.builds(
        Recommendation,
        st.sampled_from(list(Outcome)),
        st.sampled_from(list(Verdict)),
        _text,
        cells,
        remedies,
        cells,
        st.lists(cells, max_size=2).map(tuple),
        st.text(),
        _count,
        st.lists(option, max_size=2).map(tuple),
        st.lists(gains, max_size=1).map(tuple),
        st.none() | bound,
        st.lists(short, max_size=1).map(tuple),
        st.none() | share,
        texts,
    )


def _rankings(
    cells: list[CellRecord], slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[list[RankingFlow]]:
    places = st.floats(0, 1e9)
    loss = st.builds(RankingLoss, metrics, *[_number] * 6)
    flow = st.none() | st.builds(Flow, *[places] * 6)
    part = st.builds(
        RankingSlice,
        slices,
        _count,
        _share,
        _share,
        flow,
        st.lists(loss, max_size=1).map(tuple),
    )
    item = st.builds(MovedItem, st.text(), places, places, _number, st.none() | st.booleans())
    items = st.lists(item, max_size=1).map(tuple)
    ranking = st.builds(
        RankingFlow,
        st.sampled_from([each.id for each in cells]),
        _text,
        st.integers(1, 1000),
        _count,
        st.none() | _count,
        st.lists(part, max_size=1).map(tuple),
        items,
        items,
    )
    return st.lists(ranking, max_size=1)


def _exemplars(
    slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[Exemplars]:
    one = st.builds(
        Exemplar,
        st.text(),
        _count,
        _count,
        _number,
        _number,
        st.lists(slices, max_size=1).map(tuple),
        st.none() | st.text(),
        st.none() | st.text(),
        st.none() | st.text(),
        st.lists(st.builds(Said, st.text(), st.integers(1, 9)), max_size=2).map(tuple),
    )
    return st.builds(
        Exemplars,
        metrics,
        st.sampled_from(["sample", "query"]),
        _count,
        st.floats(0, 1),
        _count,
        st.lists(one, max_size=1).map(tuple),
    )


def _result(cell: str, slice_name: str, metric: str) -> st.SearchStrategy[Result]:
    return st.builds(
        Result,
        st.just(cell),
        st.just(slice_name),
        st.just(metric),
        _count,
        _number,
        _number,
        _number,
        _number,
        _number,
        st.sampled_from([None, 0.9, 0.95]),
        _interval,
        st.none() | st.builds(Flips, _count, _count),
        _share,
        _share,
        st.none()
        | st.builds(
            Gate, st.floats(0.001, 1), st.none() | st.floats(0.001, 1), st.none() | st.floats(0, 1)
        ),
        _verdict,
        st.none() | _count,
        _number,
        _number,
        st.sampled_from([None, 0.05]),
        st.floats(-1, 1),
        st.none() | _count,
        _count,
        _count,
        joint_low=_number,
    )


def _attributions(
    sets: list[CalibsetRecord], slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[list[Attribution]]:
    recipes = st.sampled_from([each.recipe or each.name for each in sets])
    part = st.builds(Part, _number, _number, _number)
    finding = st.sampled_from(["no-set-fixes", "this-set", "redraw"])
    one = st.builds(
        Attribution,
        slices,
        metrics,
        _text,
        recipes,
        st.integers(1, 100),
        st.booleans(),
        _number,
        _number,
        recipes,
        part,
        part,
        st.none() | part,
        st.none() | st.builds(BestElsewhere, _text, recipes, part),
        st.sampled_from([0.9, 0.95]),
        _share,
        _share,
        st.lists(finding, max_size=2, unique=True).map(tuple),
    )
    return st.lists(one, max_size=2)


def _gaps(
    cells: list[CellRecord], slices: st.SearchStrategy[str], metrics: st.SearchStrategy[str]
) -> st.SearchStrategy[list[Gap]]:
    part = st.builds(Part, _number, _number, _number)
    cell = st.sampled_from([each.id for each in cells])
    one = st.builds(
        Gap, cell, metrics, slices, st.integers(1, 99), _number, _number, part, st.just(0.95)
    )
    return st.lists(one, max_size=1)
