"""The backends an audit names: made, and tried out before any work."""

from collections.abc import Mapping
from dataclasses import dataclass

from calaudit.audit.config import AuditConfig
from calaudit.backends.base import BackendName, Precision
from calaudit.backends.health import Wanted, examine, no_calibrators
from calaudit.backends.onnxruntime.sessions import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.graph.model import Model
from calaudit.graph.plan import QdqPlan
from calaudit.runtime.errors import BackendError, Problem
from calaudit.runtime.pool import Pool


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """A backend as a Dask worker described it: engines are built and run there only."""

    name: BackendName
    key: str
    """What results depend on besides the graph."""
    gpu: str
    version: str
    """Of the library."""


AnyBackend = OnnxruntimeBackend | TensorrtBackend | RemoteBackend


def make_backends(
    config: AuditConfig,
    pool: Pool,
    model: Model,
    qdq: QdqPlan,
    cpu: OnnxruntimeBackend,
    *,
    remote: Mapping[BackendName, RemoteBackend],
) -> dict[BackendName, AnyBackend]:
    """The audit's own backend, then those it is to agree with.

    Parameters
    ----------
    config : AuditConfig
    pool : Pool
        Its inputs' shapes fill those that the model leaves free.
    model : Model
    qdq : QdqPlan
        Tells which products are to run, and which of them in INT8.
    cpu : OnnxruntimeBackend
        What observes ranges, whichever backend is audited.
    remote : mapping
        Backends that Dask workers have tried out; they aren't made here.

    Raises
    ------
    BackendError
        A backend isn't usable here, or can't run what is asked of it: in the words of
        ``calaudit doctor``, all at once.
    """
    settings = config.audit
    made: dict[BackendName, AnyBackend] = {}
    problems: list[Problem] = []
    for name in (settings.backend, *settings.agree_with):
        if name == "onnxruntime":
            made[name] = cpu
            continue
        if name in remote:
            made[name] = remote[name]
            continue
        where = f"{config.path}: audit.{'backend' if name == settings.backend else 'agree_with'}"
        capability = settings.compute_capability if name == "tensorrt_rtx" else None
        implicit = name == "tensorrt" and settings.int8 == "implicit"
        health = examine(name, _wanted(config, qdq, implicit), compute_capability=capability)
        missing = [*health.obstacles, *(no_calibrators(health) if implicit else ())]
        if missing:
            problems += [Problem(str(each), where, each.next_step) for each in missing]
            continue
        backend = TensorrtBackend(
            name,
            max_batch=settings.batch_size,
            sizes={key: spec.shape for key, spec in pool.inputs.items()},
            compute_capability=capability,
            timing_cache=config.folder / "engines" / f"{name}.timing",
        )
        try:
            backend.check(model)
        except BackendError as error:
            problems += [Problem(p.message, where, p.next_step) for p in error.problems]
        made[name] = backend
    if problems:
        raise BackendError.of(problems)
    return made


def _wanted(config: AuditConfig, qdq: QdqPlan, implicit: bool) -> Wanted:
    """Which products the audit's engines need, by precision."""
    nodes = [each for each in qdq.decisions if each.kind == "node" and each.weighted]
    every = {each.op_type for each in nodes}
    int8 = {each.op_type for each in nodes if each.action == "quantized"}
    # FP32 is the reference, whatever is audited; a model of other ops still has to build.
    wanted: Wanted = {"fp32": every or {"Gemm"}, "fp16": every, "int8": int8}
    asked: tuple[Precision, ...] = ("fp32", *config.audit.precisions)
    return {name: wanted[name] for name in asked if not (implicit and name == "int8")}


def backend_keys(backends: Mapping[BackendName, AnyBackend]) -> dict[BackendName, str]:
    """What results depend on besides the graph, per backend."""
    return {name: backend.key for name, backend in backends.items()}


def accelerators(backends: Mapping[BackendName, AnyBackend]) -> dict[str, str]:
    """The GPU and the versions of the libraries that run on it, for the report."""
    found: dict[str, str] = {}
    for name, backend in backends.items():
        if isinstance(backend, TensorrtBackend):
            found |= {"gpu": backend.gpu, name: backend.found.version}
        elif isinstance(backend, RemoteBackend):
            found |= {"gpu": backend.gpu, name: backend.version}
    return found


def described(backends: Mapping[BackendName, AnyBackend]) -> dict[BackendName, RemoteBackend]:
    """The backends of a GPU here, for those who have none."""
    return {
        name: RemoteBackend(name, backend.key, backend.gpu, backend.found.version)
        for name, backend in backends.items()
        if isinstance(backend, TensorrtBackend)
    }
