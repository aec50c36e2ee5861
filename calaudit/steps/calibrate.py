"""Calibrate: calibration sets → ranges → scale tables, with and without the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from calaudit.backends.base import Backend
from calaudit.calibration.batching import Batching
from calaudit.calibration.groups import mix
from calaudit.calibration.methods import ALL_METHODS, DEFAULT_METHODS, ENTROPY_TRT
from calaudit.calibration.observation import Observation
from calaudit.calibration.scales import ScaleTable, estimate_tables
from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.formats.pool import open_pool
from calaudit.formats.ranges import open_ranges, write_ranges
from calaudit.formats.writing import keep_apart
from calaudit.graph.load import check_pool_matches, load_model
from calaudit.graph.model import Model
from calaudit.graph.placement import plan_qdq
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from calaudit.runtime.errors import ModelError, Notice, SettingsError, near
from calaudit.runtime.words import counted
from calaudit.slices.dimension import Dimension
from calaudit.slices.evaluate import evaluate_slices
from calaudit.slices.sliceset import SliceSet
from calaudit.steps.observe import load_to_observe, observe
from calaudit.steps.tapped import TappedEngine
from calaudit.steps.union import CalibsetUnion


def calibrate(
    model: Model,
    plan: QdqPlan,
    sets: Mapping[str, Calibset],
    backend: Backend,
    out: Path,
    *,
    batch_size: int,
    batching: Batching | None = None,
    slices: Mapping[str, SliceSet] | None = None,
) -> Observation:
    """Observe every tap of `plan` on every set, and write the ranges file.

    A sample that several sets hold runs once; one that a set holds twice counts twice in it.

    Parameters
    ----------
    model : Model
        The prepared FP32 model that `plan` is for.
    plan : QdqPlan
        Its taps are observed.
    sets : mapping
        Calibration sets by name, at least one.
    backend : Backend
        Runs the FP32 model.
    out : Path
        Ranges file to write.
    batch_size : int
        Samples per run at most; the result doesn't depend on it.
    batching : Batching, optional
        For ``entropy-trt``, which takes a second pass: how TensorRT would be fed.
    slices : mapping, optional
        Set → slices over its samples. Each becomes a group over all sets' samples.

    Raises
    ------
    RangesError
        An activation is NaN or infinite: names the tap and the samples.
    """
    return observe_sets(
        load_to_observe(model, plan.taps, backend),
        sets,
        out,
        batch_size=batch_size,
        batching=batching,
        slices=slices,
    )


def observe_sets(
    engine: TappedEngine,
    sets: Mapping[str, Calibset],
    out: Path,
    *,
    batch_size: int,
    batching: Batching | None = None,
    slices: Mapping[str, SliceSet] | None = None,
    weighted: bool = False,
    skip_bad: bool = False,
) -> Observation:
    """As `calibrate`, on a model that is loaded already."""
    observation = observe(
        engine,
        CalibsetUnion(sets, weighted=weighted, slices=slices),
        batch_size=batch_size,
        pool_fingerprint=", ".join(sorted({drawn.pool_fingerprint for drawn in sets.values()})),
        batching=batching,
        skip_bad=skip_bad,
    )
    write_ranges(out, observation)
    return observation


def observation_notices(observation: Observation, of: str = "") -> list[Notice]:
    """What is to be said of a pass: samples that were left out, and taps that slowed it down.

    `of` says which samples, where they aren't those of calibration sets. One notice per tap for the
    samples that were skipped because of it, one for all taps because of which samples ran one by
    one, and one for those in which samples influence each other.
    """
    by_tap: dict[str, list[str]] = {}
    for each in observation.left_out:
        by_tap.setdefault(each.tap, []).append(each.id)
    found = [
        Notice(
            "bad_samples",
            f"NaN or infinite in {counted(len(ids), 'sample')}, left out of every group: "
            f"{_first(ids)}",
            f"{of}, tap {tap!r}" if of else f"tap {tap!r}",
        )
        for tap, ids in by_tap.items()
    ]
    mixed = [each.tap for each in observation.one_by_one if each.mixed]
    if mixed:
        message = (
            f"samples that run in one batch influence each other in {len(mixed)} taps "
            f"({_first(mixed)}): ranges are those of samples that run alone. Check that the "
            "batch is the first axis of every input, and that the model was exported for inference"
        )
        found.append(Notice("mixed_samples", message))
    unclear = [f"{each.tap}: {each.reason}" for each in observation.one_by_one if not each.mixed]
    if unclear:
        message = (
            "samples ran one by one, which is slower: in a batch they can't be separated in "
            f"{len(unclear)} taps ({_first(unclear)})"
        )
        found.append(Notice("one_by_one", message))
    return found


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def calibrate_sets(
    model_path: Path | str,
    paths: Sequence[Path | str],
    out: Path | str,
    *,
    methods: Sequence[str] | None = None,
    batch_size: int = 64,
    batching: Batching | None = None,
    threads: int = 0,
    dimensions: Sequence[Dimension] = (),
    pool: Path | str | None = None,
    weighted: bool = False,
    skip_bad: bool = False,
) -> list[ScaleTable]:
    """Observe calibration sets in files, write the ranges, and estimate their scale tables.

    Parameters
    ----------
    model_path : Path
        FP32 ONNX model.
    paths : sequence of Path
        Calibration sets; each is called by its recipe's name.
    out : Path
        Ranges file to write.
    methods : sequence of str, optional
        minmax, entropy, percentile and mse by default.
    batch_size, threads : int
        How the model runs; the result doesn't depend on them.
    batching : Batching, optional
        How TensorRT would be fed, for ``entropy-trt``; default: mixed batches of 64.
    dimensions : sequence of Dimension
        Record their slices as groups too; they are evaluated over `pool`.
    pool : Path, optional
        The pool that the sets were drawn from. Without it and without `dimensions`, the slices
        stored in the sets are recorded.
    weighted : bool
        Count a set's samples by its weights instead of once each.
    skip_bad : bool
        Leave out samples with an activation that is NaN or infinite; a notice of each table says
        so.

    Returns
    -------
    list of ScaleTable
        By set, then by method.

    Raises
    ------
    SettingsError
        An unknown method, two sets of one name, slices without the sets' own pool, batches that
        no method looks at, or weights with ``entropy-trt``.
    ModelError, FileFormatError, RangesError
        The model, a set, or its activations can't be used.
    OutputError
        `out` can't be written, or is one of the inputs.
    """
    model_path, out = Path(model_path), Path(out)
    files = [Path(path) for path in paths]
    if not files:
        raise SettingsError("no calibration set was given", next_step="Name at least one.")
    pool = None if pool is None else Path(pool)
    keep_apart(out, model_path, *files, *([] if pool is None else [pool]))
    chosen = _methods(methods)
    batching = batching_for(chosen, batching, weighted=weighted)
    sets = open_sets(files)
    slices = _slices(sets, dimensions, pool)
    observation = observe_sets(
        _engine(model_path, sets, threads),
        sets,
        out,
        batch_size=batch_size,
        batching=batching,
        slices=slices,
        weighted=weighted,
        skip_bad=skip_bad,
    )
    return _tables(observation, list(sets), chosen)


def scales_from_ranges(
    path: Path,
    *,
    groups: Sequence[str] = (),
    mixtures: Sequence[str] = (),
    methods: Sequence[str] | None = None,
    fraction: float | None = None,
) -> list[ScaleTable]:
    """Scale tables from a ranges file, without the model.

    Parameters
    ----------
    path : Path
        Ranges file.
    groups : sequence of str
        Recorded groups; all of them when no mixture is asked for either, of ``entropy-trt`` all
        calibration sets.
    mixtures : sequence of str
        As `calaudit.calibration.groups.mix` reads them: ``"noise<5=0.6,rest=0.4"``.
    methods : sequence of str, optional
        minmax, entropy, percentile and mse by default.
    fraction : float, optional
        Of percentile.

    Returns
    -------
    list of ScaleTable
        By group, then by mixture, then by method.

    Raises
    ------
    SettingsError, RangesError, FileFormatError
        An unknown method or group, a mixture that can't be made, or a file that can't be read.
    """
    chosen = _methods(methods)
    observation = open_ranges(path)
    names = [observation.find(name) for name in groups]
    if names or mixtures:
        return _tables(observation, names, chosen, mixtures, fraction)
    tables = []
    for name in observation.groups:
        # what nobody asked for by name isn't refused
        sliced = observation.equal_bins and name not in observation.equal_bins
        fit = [method for method in chosen if not (sliced and method == ENTROPY_TRT)]
        tables += _tables(observation, [name], fit, fraction=fraction)
    return tables


def _tables(
    observation: Observation,
    names: Sequence[str],
    methods: Sequence[str],
    mixtures: Sequence[str] = (),
    fraction: float | None = None,
) -> list[ScaleTable]:
    notices = tuple(observation_notices(observation))
    tables = []
    for number, name in enumerate([*names, *mixtures]):
        # first, since it may refuse the group
        found = [observation.equal_for(method, name) for method in methods]
        equal = next((each for each in found if each is not None), None)
        histograms = observation.of(name) if number < len(names) else mix(observation, name)
        tables += estimate_tables(
            histograms,
            0,
            {
                method: {"fraction": fraction} if fraction and method == "percentile" else {}
                for method in methods
            },
            calibset=name,
            equal=equal,
            model_fingerprint=observation.model_fingerprint,
            notices=notices,
            tried=methods,
        )
    return tables


def _engine(path: Path, sets: Mapping[str, Calibset], threads: int) -> TappedEngine:
    from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend

    model = prepare(load_model(path))
    for drawn in sets.values():
        check_pool_matches(model.inputs, drawn.inputs, where=str(drawn.path))
    plan = plan_qdq(model)
    if not plan.taps:
        raise ModelError(
            "no op of this model would run in INT8, so there is nothing to calibrate",
            where=model.label,
            next_step="Give the FP32 model; calaudit build --explain says why each op stays float.",
        )
    return load_to_observe(model, plan.taps, OnnxruntimeBackend(threads=threads))


def _methods(methods: Sequence[str] | None) -> list[str]:
    chosen = list(methods or DEFAULT_METHODS)
    for method in chosen:
        if method not in ALL_METHODS:
            raise SettingsError(
                f"there is no method {method!r}",
                where="--method",
                next_step=near(method, ALL_METHODS),
            )
    return chosen


def batching_for(
    methods: Sequence[str], batching: Batching | None, *, weighted: bool = False
) -> Batching | None:
    """How to cut sets for ``entropy-trt``; None where it isn't asked for.

    Raises
    ------
    SettingsError
        Batches are given and ``entropy-trt`` isn't, or samples are weighted.
    """
    if ENTROPY_TRT not in methods:
        if batching is not None:
            raise SettingsError(
                f"only {ENTROPY_TRT} depends on batches and their order",
                where="--calibration-batch, --calibration-order",
                next_step=f"Add --method {ENTROPY_TRT}, or leave them out.",
            )
        return None
    if weighted:
        raise SettingsError(
            f"{ENTROPY_TRT} is TensorRT's own calibration, which knows no weights",
            where="--weighted",
            next_step=f"Leave out --weighted or --method {ENTROPY_TRT}.",
        )
    return batching or Batching()


def open_sets(paths: Sequence[Path]) -> dict[str, Calibset]:
    """Calibration sets by their names. Raises `SettingsError` where two have one."""
    sets: dict[str, Calibset] = {}
    for path in paths:
        drawn = open_calibset(path)
        if drawn.name in sets:
            raise SettingsError(
                f"{path} and {sets[drawn.name].path} are both called {drawn.name!r}",
                next_step="Draw one of them under another name.",
            )
        sets[drawn.name] = drawn
    return sets


def _slices(
    sets: Mapping[str, Calibset], dimensions: Sequence[Dimension], pool: Path | None
) -> dict[str, SliceSet]:
    """Slices over each set's samples: evaluated over the pool, or those stored in the set."""
    if not dimensions:
        return {name: drawn.slices for name, drawn in sets.items()}
    if pool is None:
        raise SettingsError(
            "slices are evaluated over the pool, and none is given",
            where="--by, --where, --cross",
            next_step="Add --pool with the pool that the sets were drawn from.",
        )
    with open_pool(pool) as opened:
        for drawn in sets.values():
            if drawn.pool_fingerprint != opened.fingerprint():
                raise SettingsError(
                    f"{drawn.path} was drawn from another pool ({drawn.pool_label})",
                    where=str(pool),
                    next_step="Give the pool it was drawn from, or draw it again.",
                )
        whole = evaluate_slices(dimensions, opened)
    return {name: whole.take(drawn.rows) for name, drawn in sets.items()}
