"""The backends an audit names: made, and tried out before any work."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from calaudit.audit.config import AuditConfig
from calaudit.backends.base import DEFAULT, Backend, Precision, Site
from calaudit.backends.health import Wanted
from calaudit.backends.registry import BACKENDS
from calaudit.graph.model import Model
from calaudit.graph.qdq import QdqPlan
from calaudit.runtime.errors import BackendError, Problem
from calaudit.runtime.pool import Pool


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """A backend as a Dask worker described it: engines are built and run there only."""

    name: str
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
    jobs: int,
    remote: Mapping[str, RemoteBackend],
) -> dict[str, AnyBackend]:
    """The audit's own backend, then those it is to agree with.

    Parameters
    ----------
    config : AuditConfig
    pool : Pool
        Its inputs' shapes fill those that the model leaves free.
    model : Model
    qdq : QdqPlan
        Tells which products are to run, and which of them in INT8.
    jobs : int
        Engines that run at a time.
    remote : mapping
        Backends that Dask workers have tried out; they aren't made here.

    Raises
    ------
    BackendError
        A backend isn't usable here, or can't run what is asked of it: in the words of
        ``calaudit doctor``, all at once.
    """
    settings = config.audit
    made: dict[str, AnyBackend] = {}
    problems: list[Problem] = []
    for name in (settings.backend, *settings.agree_with):
        if name in remote:
            made[name] = remote[name]
            continue
        where = f"{config.path}: audit.{'backend' if name == settings.backend else 'agree_with'}"
        kind, own = BACKENDS.load(name, where=where), config.backends[name]
        missing = [*kind.obstacles(own, _wanted(config, qdq))]
        if missing:
            problems += [Problem(str(each), where, each.next_step) for each in missing]
            continue
        backend = kind.make(own, _site(config, pool, jobs))
        problems += _unfit(backend, model, ("fp32", *settings.precisions), where)
        made[name] = backend
    if problems:
        raise BackendError.of(problems)
    return made


def _unfit(
    backend: Backend, model: Model, precisions: Iterable[Precision], where: str
) -> Iterator[Problem]:
    """What a backend that is usable here can't do of this audit."""
    for precision in precisions:
        if precision not in backend.capabilities.precisions:
            message = f"{backend.name} makes no engines in {precision.upper()}"
            yield Problem(
                message, where, "Leave it out of precisions, or audit on another backend."
            )
    try:
        backend.check(model)
    except BackendError as error:
        yield from (Problem(p.message, where, p.next_step) for p in error.problems)


def make_observer(config: AuditConfig, pool: Pool) -> Backend:
    """What observes ranges and draws sets, whichever backend is audited."""
    return BACKENDS.load(DEFAULT).make(config.backends[DEFAULT], _site(config, pool, 1))


def _site(config: AuditConfig, pool: Pool, jobs: int) -> Site:
    return Site(
        folder=config.folder / "engines",
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
    """What results depend on besides the graph, per backend."""
    return {name: backend.key for name, backend in backends.items()}


def accelerators(backends: Mapping[str, AnyBackend]) -> dict[str, str]:
    """The GPU and the versions of the libraries that run on it, for the report."""
    found: dict[str, str] = {}
    for backend in backends.values():
        found |= backend.environment
    return found


def described(backends: Mapping[str, AnyBackend]) -> dict[str, RemoteBackend]:
    """The backends of a GPU here, for those who have none."""
    return {
        name: RemoteBackend(name, backend.key, dict(backend.environment))
        for name, backend in backends.items()
        if not isinstance(backend, RemoteBackend) and backend.capabilities.needs_gpu
    }
