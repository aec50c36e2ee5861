"""Prepare: open and check everything an audit needs, before any work is done."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from types import NoneType

from calaudit.audit.backends import (
    AnyBackend,
    RemoteBackend,
    backend_keys,
    make_backends,
    make_observer,
)
from calaudit.audit.config import AuditConfig, read_audit
from calaudit.audit.eval_sets import kept_by, read_tasks
from calaudit.audit.foreign import Foreign, Wanted, open_foreign
from calaudit.audit.gates import read_gates
from calaudit.audit.given import check_given, open_given
from calaudit.audit.keys import content_key
from calaudit.audit.placement import Placement, place
from calaudit.audit.plan import Plan, PlannedCell, make_plan
from calaudit.audit.store import check_folder
from calaudit.backends.base import Backend
from calaudit.calibration.scales import ScaleTable
from calaudit.formats.pool import PoolFile, open_pool
from calaudit.graph.load import check_pool_matches, load_model
from calaudit.graph.macs import count_macs
from calaudit.graph.model import Model
from calaudit.graph.network import Network, import_network
from calaudit.graph.prepare import prepare
from calaudit.graph.qdq import QdqPlan
from calaudit.graph.survey import sized_outputs
from calaudit.runtime.errors import (
    Notice,
    SettingsError,
    SliceError,
)
from calaudit.runtime.pool import Rows
from calaudit.runtime.progress import stage
from calaudit.runtime.settings import whole_number
from calaudit.runtime.words import first_of
from calaudit.sampling.recipe import Recipe
from calaudit.slices.evaluate import select_rows
from calaudit.slices.objects import ObjectSlices, slice_pool
from calaudit.slices.sliceset import SliceSet
from calaudit.statistics.criteria import Tolerance
from calaudit.steps.clusters import Clusters, read_clusters
from calaudit.steps.sample import draws_alike
from calaudit.steps.tuning import Tuning, find_tuning
from calaudit.tasks.base import EvalSet
from calaudit.tasks.reading import rows_to_predict
from calaudit.tasks.reduction import Kept

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a command may set in place of the audit file's own values."""

    model: Path | str | None = None
    pool: Path | str | None = None
    out: Path | str | None = None
    """Folder of artefacts and report; default: the audit file's path without its suffix."""
    seed: int | None = None
    wait: bool = False
    """Wait for another run that is at work on the folder, instead of refusing."""
    jobs: int | None = None
    """Engines of onnxruntime that run at a time; its threads are divided among them. None: one for
    each core where the model is small, else one."""
    dask: str | None = None
    """Address of a Dask scheduler whose workers make the engines and run them."""

    def __post_init__(self) -> None:
        """Refuse what isn't a path, a number or an address. Raises `SettingsError`."""
        if self.seed is not None:
            object.__setattr__(self, "seed", whole_number(self.seed, "Overrides: seed"))
        if self.jobs is not None:
            object.__setattr__(self, "jobs", whole_number(self.jobs, "Overrides: jobs", least=1))
        kinds: dict[str, tuple[type, ...]] = {
            **dict.fromkeys(("model", "pool", "out"), (str, PurePath, NoneType)),
            "wait": (bool,),
            "dask": (str, NoneType),
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                what = {"wait": "True or False", "dask": "an address"}.get(name, "a path")
                raise SettingsError(
                    f"should be {what} (got {value!r})",
                    where=f"Overrides: {name}",
                    next_step="Change the value.",
                )
            if isinstance(value, str | PurePath) and name != "dask":
                object.__setattr__(self, name, Path(value))


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit with its inputs open and checked, and its plan."""

    config: AuditConfig
    pool: PoolFile
    model: Model
    """As given: the FP32 reference runs it."""
    folded: Model
    """Constants and BatchNormalization folded: taps and Q/DQ belong to it."""
    placement: Placement
    macs: Mapping[str, int | None]
    """Product of `folded` → multiply-accumulates per sample, where the shapes tell."""
    backend: Backend
    """Observes ranges and draws sets, whatever is audited."""
    backends: dict[str, AnyBackend]
    """The audited backend first, then those it is to agree with."""
    object_slices: ObjectSlices
    """Slices of the whole pool, and of its objects."""
    evaluated: Rows
    slices: SliceSet
    """Over the evaluated rows."""
    predicted: Rows
    """Evaluated rows and galleries."""
    tuning: Tuning
    """Rows that things are chosen and explained by; none of them is predicted."""
    eval_sets: tuple[EvalSet, ...]
    gates: dict[tuple[str, str], Tolerance]
    floors: dict[tuple[str, str], float]
    """(metric, slice) → what FP32 must reach."""
    clusters: Clusters | None
    """Of the evaluated rows."""
    plan: Plan
    network: Network | None
    """What TensorRT's parser makes of the model; None where no cell is quantized implicitly by
    ranges of ours."""
    given: Mapping[str, ScaleTable]
    """Ranges of ``[[scales]]``, by name."""
    foreign: Mapping[str, Foreign]
    """Engines that somebody else made, by name."""
    seed: int
    jobs: int | None = None
    """Engines that run at a time; None: as many as suit the model."""

    @property
    def pool_slices(self) -> SliceSet:
        """Over the whole pool."""
        return self.object_slices.samples

    @property
    def qdq(self) -> QdqPlan:
        """Q/DQ without exemptions: its taps are observed."""
        return self.placement.whole

    def qdq_of(self, cell: PlannedCell) -> QdqPlan:
        """Q/DQ of one engine."""
        return self.placement.plans.get(cell.float_ops, self.qdq)

    def kept(self, cell: PlannedCell) -> Kept:
        """What predictions of an engine keep."""
        return kept_by(self.config, self.eval_sets, reference=cell == self.plan.reference)

    @property
    def folder(self) -> Path:
        """Where artefacts and report go."""
        return self.plan.report.parent


@contextmanager
def prepared_audit(
    path: Path,
    overrides: Overrides,
    remote: Mapping[str, RemoteBackend] | None = None,
) -> Iterator[Audit]:
    """Open an audit; the pool is closed on leaving.

    Parameters
    ----------
    path : Path
        The audit file.
    overrides : Overrides
    remote : mapping, optional
        Backends that aren't used here but on Dask workers.

    Raises
    ------
    CalauditError
        Whatever is wrong with the audit file, the model, the pool, or how they fit together.
    """
    with ExitStack() as opened:
        with stage("opening the audit"):
            audit = opened.enter_context(_opened(path, overrides, remote or {}))
        yield audit


@contextmanager
def _opened(
    path: Path, overrides: Overrides, remote: Mapping[str, RemoteBackend]
) -> Iterator[Audit]:
    config = read_audit(path)
    check_folder(Path(overrides.out or config.folder))
    model = load_model(Path(overrides.model or config.resolve(config.audit.model)))
    with open_pool(overrides.pool or config.resolve(config.audit.pool)) as pool:
        check_pool_matches(model.inputs, pool.inputs, where=pool.label)
        yield _prepared(config, overrides, remote, model, pool)


def _prepared(
    config: AuditConfig,
    overrides: Overrides,
    remote: Mapping[str, RemoteBackend],
    model: Model,
    pool: PoolFile,
) -> Audit:
    path, folder = config.path, Path(overrides.out or config.folder)
    seed = config.audit.seed if overrides.seed is None else overrides.seed
    evaluated = _evaluated(config, pool)
    whole = slice_pool(config.dimensions, pool, where=f"{path}: slices")
    slices = _noted(whole.samples.take(evaluated), whole.samples, f"{path}: slices")
    eval_sets = read_tasks(config, evaluated, slices, whole, model)
    gates, floors = read_gates(config, eval_sets)
    clusters = _clusters(config, pool, evaluated, eval_sets)
    placement = place(config, model, folded := prepare(model))
    predicted = rows_to_predict(config.tasks, pool, evaluated)
    tuning = _tuning(config, pool, predicted, whole.samples, seed)
    jobs = overrides.jobs or 1
    backends = make_backends(
        config, pool, model, placement.whole, folder=folder, jobs=jobs, remote=remote
    )
    given = open_given(config)
    foreign = _foreign(config, pool, predicted, eval_sets, folded, qdq=placement.whole)
    plan = make_plan(
        config,
        model=model.fingerprint,
        pool=pool.fingerprint(),
        rows=content_key(predicted.tolist()),
        kept=kept_by(config, eval_sets).key,
        kept_of_reference=kept_by(config, eval_sets, reference=True).key,
        tuning=_tuning_key(tuning, placement.whole),
        folder=folder,
        seed=seed,
        backends=backend_keys(backends),
        settled=_settled(config, pool, predicted, whole.samples),
        given=given,
        float_ops=placement.float_ops,
        foreign={name: each.part for name, each in foreign.items()},
    )
    return Audit(
        config=config,
        pool=pool,
        model=model,
        folded=folded,
        placement=placement,
        macs=_macs(folded, pool),
        backend=make_observer(config, pool, folder),
        backends=backends,
        object_slices=whole,
        evaluated=evaluated,
        slices=slices,
        predicted=predicted,
        tuning=tuning,
        eval_sets=eval_sets,
        gates=gates,
        floors=floors,
        clusters=clusters,
        plan=plan,
        network=_network(config, plan, given, placement.whole, model),
        given=given,
        foreign=foreign,
        seed=seed,
        jobs=overrides.jobs,
    )


def _macs(folded: Model, pool: PoolFile) -> dict[str, int | None]:
    return count_macs(folded, {name: spec.shape for name, spec in pool.inputs.items()})


def _foreign(
    config: AuditConfig,
    pool: PoolFile,
    predicted: Rows,
    eval_sets: Sequence[EvalSet],
    folded: Model,
    *,
    qdq: QdqPlan,
) -> dict[str, Foreign]:
    """Engines that somebody else made, held against the pool and the outputs that tasks read."""
    if not config.engines:
        return {}
    read = {name for each in eval_sets for name in each.outputs}
    sizes = {name: spec.shape for name, spec in pool.inputs.items()}
    outputs = [each for each in sized_outputs(folded, sizes) if each.name in read]
    wanted = Wanted(pool, predicted, outputs, eval_sets, _macs(folded, pool), folded, qdq)
    return open_foreign(config, wanted)


def _clusters(
    config: AuditConfig, pool: PoolFile, evaluated: Rows, eval_sets: Sequence[EvalSet]
) -> Clusters | None:
    return read_clusters(
        config.audit.cluster_columns,
        pool,
        evaluated,
        dimensions=config.dimensions,
        slices=[each.slices for each in eval_sets],
        where=f"{config.path}: audit.cluster_by",
    )


def _network(
    config: AuditConfig,
    plan: Plan,
    given: Mapping[str, ScaleTable],
    qdq: QdqPlan,
    model: Model,
) -> Network | None:
    """What implicit quantization asks for, where any is; given ranges are held to it."""
    network = import_network(model) if plan.implicit else None
    check_given(config, plan, given, qdq, network)
    return network


def _evaluated(config: AuditConfig, pool: PoolFile) -> Rows:
    """The rows to evaluate on; none is an error."""
    where = f"{config.path}: audit.evaluate"
    evaluated = select_rows(config.audit.evaluate, pool, where=where)
    if not len(evaluated):
        raise SliceError(
            f"no sample is evaluated: {config.audit.evaluate!r} selects nothing",
            where=where,
            next_step="Fix the predicate; calaudit pool show lists the columns.",
        )
    return evaluated


def _tuning(
    config: AuditConfig, pool: PoolFile, predicted: Rows, slices: SliceSet, seed: int
) -> Tuning:
    return find_tuning(
        pool,
        tune=config.audit.tune,
        calibrate=config.audit.calibrate,
        evaluated=predicted,
        slices=slices,
        most=config.audit.tune_samples,
        seed=seed,
        where=f"{config.path}: audit",
    )


def _tuning_key(tuning: Tuning, qdq: QdqPlan) -> str | None:
    """What is observed on the tuning rows, as a key; None where there are none."""
    rows = tuning.observed.tolist()
    return content_key({"rows": rows, "taps": list(qdq.taps)}) if rows else None


def _settled(
    config: AuditConfig, pool: PoolFile, predicted: Rows, slices: SliceSet
) -> frozenset[str]:
    """Recipes whose every draw is the same set."""
    return frozenset(
        name
        for name, entry in config.calibsets.items()
        if isinstance(entry, Recipe)
        and draws_alike(
            pool, entry, evaluate=predicted, candidates=config.audit.calibrate, slices=slices
        )
    )


def _noted(slices: SliceSet, whole: SliceSet, where: str) -> SliceSet:
    """The evaluated rows' slices, with a note on those that only the rest of the pool is in."""
    counts, pooled = slices.counts(), whole.counts()
    empty = [f"{name} ({pooled[name]:,})" for name, n in counts.items() if n == 0 and pooled[name]]
    if not empty:
        return slices
    notice = Notice(
        "slices_not_evaluated",
        "samples of the pool, but no evaluated ones, are in "
        f"{first_of(empty[:_SHOWN], len(empty))}: patterns of gates leave these slices out",
        where,
    )
    return replace(slices, notices=(*slices.notices, notice))
