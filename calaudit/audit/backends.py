"""The targets of an audit: their backends made, and tried out before any work."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from calaudit.audit.config import AuditConfig
from calaudit.backends.base import DEFAULT, Backend, Precision, Site
from calaudit.backends.health import Wanted
from calaudit.backends.targets import Target
from calaudit.graph.model import Model
from calaudit.graph.qdq import QdqPlan
from calaudit.runtime.errors import BackendError, Problem
from calaudit.runtime.pool import Pool


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """A target as a Dask worker described it: engines are built and run there only."""

    name: str
    """The target's."""
    key: str
    """What results depend on besides the graph."""
    environment: Mapping[str, str]
    """What reports say of the worker's GPU and libraries."""


AnyBackend = Backend | RemoteBackend


def make_backends(
    config: AuditConfig,
    pool: Pool,
    model: Model,
    qdq: QdqPlan,
    *,
    folder: Path,
    jobs: int,
    remote: Mapping[str, RemoteBackend],
) -> dict[str, AnyBackend]:
    """The backend of the audit's own target, then of all others that it runs on, by target.

    Parameters
    ----------
    config : AuditConfig
    pool : Pool
        Its inputs' shapes fill those that the model leaves free.
    model : Model
    qdq : QdqPlan
        Tells which products are to run, and which of them in INT8.
    folder : Path
        Where results go.
    jobs : int
        Engines that run at a time.
    remote : mapping
        Targets that Dask workers have tried out; they aren't made here.

    Raises
    ------
    BackendError
        A target isn't usable, or can't run what is asked of it: in the words of
        ``calaudit doctor``, of all targets at once.
    """
    precisions: tuple[Precision, ...] = ("fp32", *config.audit.precisions)
    made: dict[str, AnyBackend] = {}
    problems: list[Problem] = []
    for target in config.used:
        if target.name in remote:
            made[target.name] = remote[target.name]
            continue
        try:
            missing = [*target.kind.obstacles(target.settings, _wanted(config, qdq))]
            problems += [Problem(str(each), target.where, each.next_step) for each in missing]
            if missing:
                continue
            site = site_of(config, target, pool, folder, jobs)
            backend = target.kind.make(target.settings, site)
            problems += _unfit(backend, target, precisions) if target in config.columns else ()
            made[target.name] = backend
            backend.check(model)
        except BackendError as error:
            problems += [Problem(p.message, target.where, p.next_step) for p in error.problems]
    if problems:
        raise BackendError.of(problems)
    return made


def _unfit(backend: Backend, target: Target, precisions: Iterable[Precision]) -> Iterator[Problem]:
    """Precisions that a backend which is usable doesn't have."""
    for precision in precisions:
        if precision not in backend.capabilities.precisions:
            message = f"{target.name} makes no engines in {precision.upper()}"
            step = "Leave it out of precisions, or audit on another backend."
            yield Problem(message, target.where, step)


def make_observer(config: AuditConfig, pool: Pool, folder: Path) -> Backend:
    """What observes ranges and draws sets, whichever target is audited."""
    target = config.targets[DEFAULT]
    return target.kind.make(target.settings, site_of(config, target, pool, folder, 1))


def site_of(config: AuditConfig, target: Target, pool: Pool, folder: Path, jobs: int) -> Site:
    """Where a target's backend works in an audit."""
    return Site(
        name=target.name,
        folder=folder / "engines",
        batch_size=config.audit.batch_size,
        shapes={key: spec.shape for key, spec in pool.inputs.items()},
        jobs=jobs,
    )


def _wanted(config: AuditConfig, qdq: QdqPlan) -> Wanted:
    """Which products the audit's engines need, by precision."""
    nodes = [each for each in qdq.decisions if each.kind == "node" and each.weighted]
    every = {each.op_type for each in nodes}
    int8 = {each.op_type for each in nodes if each.action == "quantized"}
    # FP32 is the reference, whatever is audited; a model of other ops still has to build.
    wanted: Wanted = {"fp32": every or {"Gemm"}, "fp16": every, "int8": int8}
    asked: tuple[Precision, ...] = ("fp32", *config.audit.precisions)
    return {name: wanted[name] for name in asked}


def backend_keys(backends: Mapping[str, AnyBackend]) -> dict[str, str]:
    """What results depend on besides the graph, per target."""
    return {name: backend.key for name, backend in backends.items()}


def accelerators(backends: Mapping[str, AnyBackend]) -> dict[str, str]:
    """The GPUs and the versions of the libraries that run on them, for the report."""
    found: dict[str, list[str]] = {}
    for backend in backends.values():
        for name, value in backend.environment.items():
            found.setdefault(name, []).append(value)
    return {name: ", ".join(dict.fromkeys(values)) for name, values in found.items()}


def described(backends: Mapping[str, AnyBackend]) -> dict[str, RemoteBackend]:
    """The backends of a GPU here, for those who have none."""
    return {
        name: RemoteBackend(name, backend.key, dict(backend.environment))
        for name, backend in backends.items()
        if not isinstance(backend, RemoteBackend) and backend.capabilities.needs_gpu
    }
