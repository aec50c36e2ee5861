"""Benches for tests: one of the digits audit's engines, and a hypothesis strategy for any."""

from hypothesis import strategies as st

from calaudit.results.bench import (
    BenchedEngine,
    BenchRecord,
    BenchSettings,
    EngineMemory,
    GpuUse,
    Latency,
    LayerTime,
    Ratio,
    Throughput,
)
from calaudit.results.values import Estimate
from calaudit.runtime.errors import Notice


def estimate(value: float, half: float = 0.02) -> Estimate:
    """A value with an interval of this share to either side."""
    return Estimate(value, value * (1 - half), value * (1 + half))


def benched(
    engine: str = "fp32", *, ms: float = 2.0, precision: str = "fp32", **changes: object
) -> BenchedEngine:
    """An engine whose median run of 64 samples takes so many milliseconds."""
    made: dict[str, object] = {
        "engine": engine,
        "backend": "onnxruntime",
        "precision": precision,
        "fingerprint": "f1" if engine == "fp32" else "e1",
        "kernels": "fused" if precision == "int8" else "float",
        "file_bytes": 400_000 if precision == "fp32" else 120_000,
        "memory": EngineMemory(380_000, None, 3_000_000, 64, "resident memory of its process"),
        "latencies": (
            latency(1, ms / 20),
            latency(64, ms),
        ),
        "throughput": (Throughput(64, 1, estimate(64 / ms * 1e3)),),
        "layers": (
            LayerTime("conv1", ms * 0.6, 0.6, ("conv1",), "Conv", precision),
            LayerTime("fc", ms * 0.4, 0.4, ("fc",), "MatMul", precision),
        ),
        "layers_batch": 64,
        "warm_up": 0.2,
    }
    return BenchedEngine(**{**made, **changes})  # type: ignore[arg-type]


def latency(batch: int, ms: float, n: int = 500) -> Latency:
    """Runs whose tail is half as long again."""
    return Latency(
        batch, n, estimate(ms), estimate(ms * 1.3), estimate(ms * 1.5, 0.1), estimate(ms * 1.05)
    )


SETTINGS = BenchSettings((1, 64), (1,), 10, 0.25, 2.0, 0, 0.95)
BENCH = BenchRecord(
    "2026-11-03T12:30:00+00:00",
    SETTINGS,
    {"cpu": "any", "cores": "2", "load": "0.10", "gpu": None},
    (
        benched(),
        benched("clean/minmax", ms=1.0, precision="int8"),
        benched(
            "clean/minmax",
            ms=0.8,
            precision="int8",
            variant="o5",
            knobs={"optimization_level": 5},
            gpu=GpuUse(
                64,
                4,
                0.93,
                estimate(310.0),
                estimate(0.002),
                1755.0,
                2619.0,
                61.0,
                ("sw_power_cap",),
            ),
        ),
    ),
    (
        Ratio("clean/minmax", "", "fp32", "", "latency", estimate(2.0), 64),
        Ratio("clean/minmax", "", "fp32", "", "throughput", estimate(2.0), 64, 1),
        Ratio("clean/minmax", "", "fp32", "", "file", Estimate(3.33)),
    ),
    (Ratio("fp32", "", "fp32", "", "latency", estimate(1.0), 64),),
    (Notice("bench_machine_busy", "other programs took 40 % of the cores", "bench"),),
)

_text = st.text(min_size=1, max_size=20)
_number = st.none() | st.floats()
_count = st.integers(0, 10**12)
_ordinal = st.integers(1, 10**6)
_estimates = st.builds(Estimate, _number, _number, _number)
_latencies = st.builds(
    Latency,
    _ordinal,
    _count,
    _estimates,
    _estimates,
    _estimates,
    _estimates,
    st.none() | _estimates,
)
_layers = st.builds(
    LayerTime, _text, st.floats(0, 1e9), st.floats(0, 1), st.lists(st.text(), max_size=2).map(tuple)
)


@st.composite
def benches(draw: st.DrawFn, names: st.SearchStrategy[str]) -> BenchRecord:
    """Any bench of engines of these names."""
    keys = draw(st.lists(st.tuples(names, st.text(max_size=5)), max_size=3, unique=True))
    engines = [
        BenchedEngine(
            name,
            draw(_text),
            draw(st.sampled_from(["int8", "fp16", "fp32", "unknown"])),
            draw(_text),
            draw(_text),
            variant,
            draw(st.dictionaries(_text, st.none() | st.booleans() | st.integers(), max_size=2)),
            draw(st.sampled_from(["measured", "trtexec"])),
            draw(st.none() | _count),
            draw(st.none() | st.builds(EngineMemory, st.none() | _count)),
            tuple(draw(st.lists(_latencies, max_size=2))),
            tuple(
                draw(st.lists(st.builds(Throughput, _ordinal, _ordinal, _estimates), max_size=2))
            ),
            draw(st.none() | st.builds(GpuUse, _ordinal, _ordinal, st.none() | st.floats(0, 1))),
            tuple(draw(st.lists(_layers, max_size=2))),
            draw(st.none() | _ordinal),
        )
        for name, variant in keys
    ]
    ratios = []
    if keys:
        pairs = st.tuples(st.sampled_from(keys), st.sampled_from(keys))
        quantities = st.sampled_from(["latency", "throughput", "file", "memory", "energy"])
        for one, other in draw(st.lists(pairs, max_size=2)):
            ratios.append(Ratio(*one, *other, draw(quantities), draw(_estimates)))
    return BenchRecord(
        draw(_text),
        SETTINGS,
        draw(st.dictionaries(_text, st.none() | st.text(), max_size=2)),
        tuple(engines),
        tuple(ratios),
        (),
        tuple(
            draw(st.lists(st.builds(Notice, _text, st.text(), st.none() | st.text()), max_size=1))
        ),
    )
