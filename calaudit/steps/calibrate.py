"""Calibrate: one FP32 pass over the union of all calibration sets' samples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calaudit.backends.base import Backend
from calaudit.errors import ModelError, Problem, SettingsError, near
from calaudit.formats.calibset import Calibset, open_calibset
from calaudit.formats.ranges import write_ranges
from calaudit.graph import (
    Model,
    QdqPlan,
    check_pool_matches,
    load_model,
    plan_qdq,
    prepare,
    with_taps,
)
from calaudit.progress import counter
from calaudit.ranges import (
    DEFAULT_METHODS,
    METHODS,
    Accumulator,
    BadActivationsError,
    ScaleTable,
    estimate_scales,
)
from calaudit.ranges.observation import Observation
from calaudit.ranges.parts import Atoms, split_into_atoms

SampleKey = tuple[str, int]
"""Content digest, and which of its occurrences within one set."""


def calibrate(
    model: Model,
    plan: QdqPlan,
    sets: Mapping[str, Calibset],
    backend: Backend,
    out: Path,
    *,
    batch_size: int,
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
        Samples per run; the result doesn't depend on it.

    Raises
    ------
    RangesError
        An activation is NaN or infinite: names the tap and the samples.
    ModelError
        A tap has no batch axis.
    """
    keys = {name: _keys(drawn) for name, drawn in sets.items()}
    place, atoms = _split(keys)
    n_samples = np.bincount(atoms.of_sample, minlength=atoms.members.shape[1]).astype(np.int64)
    accumulator = Accumulator(plan.taps, len(n_samples))
    engine = backend.load(with_taps(model, plan.taps))
    with counter(len(place), what="ranges") as done:
        for name, positions, feeds in _union(sets, keys, batch_size):
            ids = sets[name].ids[positions]
            codes = atoms.of_sample[[place[keys[name][at]] for at in positions]]
            try:
                _observe(accumulator, plan.taps, engine.run(feeds), codes, ids)
            except (BadActivationsError, ModelError) as error:
                raise type(error).of(
                    Problem(p.message, f"{model.label}, calibration set {name}", p.next_step)
                    for p in error.problems
                ) from None
            done.advance(len(positions))
    observation = Observation(
        accumulator.histograms,
        tuple(sets),
        atoms.members,
        n_samples,
        model.fingerprint,
        ", ".join(sorted({drawn.pool_fingerprint for drawn in sets.values()})),
    )
    write_ranges(out, observation)
    return observation


def _keys(drawn: Calibset) -> list[SampleKey]:
    seen: Counter[str] = Counter()
    keys = []
    for digest in map(str, drawn.digests):
        keys.append((digest, seen[digest]))
        seen[digest] += 1
    return keys


def _split(keys: Mapping[str, list[SampleKey]]) -> tuple[dict[SampleKey, int], Atoms]:
    """Place of every sample in the union, and the atoms of the union."""
    place: dict[SampleKey, int] = {}
    for each in keys.values():
        for key in each:
            place.setdefault(key, len(place))
    membership = np.zeros((len(keys), len(place)), dtype=bool)
    for group, each in enumerate(keys.values()):
        membership[group, [place[key] for key in each]] = True
    return place, split_into_atoms(membership)


def _union(
    sets: Mapping[str, Calibset], keys: Mapping[str, list[SampleKey]], batch_size: int
) -> Iterator[tuple[str, NDArray[np.int64], dict[str, NDArray[Any]]]]:
    """Every sample once: set, positions in it, inputs."""
    done: set[SampleKey] = set()
    for name, drawn in sets.items():
        for start in range(0, len(drawn), batch_size):
            stop = min(start + batch_size, len(drawn))
            fresh = np.array([at for at in range(start, stop) if keys[name][at] not in done])
            if not len(fresh):
                continue
            done.update(keys[name][at] for at in fresh)
            values = drawn.read_inputs(start, stop)
            yield name, fresh, {key: array[fresh - start] for key, array in values.items()}


def _observe(
    accumulator: Accumulator,
    taps: tuple[str, ...],
    outputs: Mapping[str, NDArray[Any]],
    atoms: NDArray[np.int64],
    ids: NDArray[np.str_],
) -> None:
    for tap, tensor in enumerate(taps):
        values = outputs[tensor]
        if values.ndim == 0 or len(values) != len(ids):
            raise ModelError(
                f"tensor {tensor} has shape {values.shape} for a batch of {len(ids)}: its range "
                "can't be told apart by sample",
                next_step="Export the model with the batch as the first axis of every activation.",
            )
        try:
            accumulator.add(tap, values, atoms)
        except BadActivationsError as error:
            shown = ", ".join(ids[list(error.positions[:8])])
            raise BadActivationsError(
                f"tap {tensor} is NaN or infinite in {len(error.positions)} samples: {shown}",
                next_step=error.problems[0].next_step,
                tap=tensor,
                positions=error.positions,
            ) from None


def calibrate_sets(
    model_path: Path,
    paths: Sequence[Path],
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    batch_size: int = 64,
    threads: int = 0,
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
        All four by default.
    batch_size, threads : int
        How the model runs; the result doesn't depend on them.

    Returns
    -------
    list of ScaleTable
        By set, then by method.

    Raises
    ------
    SettingsError
        An unknown method, or two sets of one name.
    ModelError, FileFormatError, RangesError
        The model, a set, or its activations can't be used.
    """
    from calaudit.backends.onnxruntime import OnnxruntimeBackend

    chosen = list(methods or DEFAULT_METHODS)
    for method in chosen:
        if method not in METHODS:
            raise SettingsError(
                f"there is no method {method!r}", where="--method", next_step=near(method, METHODS)
            )
    sets: dict[str, Calibset] = {}
    for path in paths:
        drawn = open_calibset(path)
        if drawn.name in sets:
            raise SettingsError(
                f"{path} and {sets[drawn.name].path} are both called {drawn.name!r}",
                next_step="Draw one of them under another name.",
            )
        sets[drawn.name] = drawn
    model = prepare(load_model(model_path))
    for drawn in sets.values():
        check_pool_matches(model.inputs, drawn.inputs, where=str(drawn.path))
    observation = calibrate(
        model,
        plan_qdq(model),
        sets,
        OnnxruntimeBackend(threads=threads),
        out,
        batch_size=batch_size,
    )
    return [
        estimate_scales(
            observation.of(name), 0, method, calibset=name, model_fingerprint=model.fingerprint
        )
        for name in sets
        for method in chosen
    ]
