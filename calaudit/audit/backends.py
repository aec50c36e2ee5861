"""The backends an audit names: made and checked before any work."""

from collections.abc import Mapping
from typing import get_args

from calaudit.audit.config import AuditConfig, BackendName
from calaudit.backends.base import Precision
from calaudit.backends.onnxruntime import OnnxruntimeBackend
from calaudit.backends.tensorrt.backend import TensorrtBackend
from calaudit.errors import BackendError, Problem
from calaudit.pool import Pool

AnyBackend = OnnxruntimeBackend | TensorrtBackend


def make_backends(
    config: AuditConfig, pool: Pool, cpu: OnnxruntimeBackend
) -> dict[BackendName, AnyBackend]:
    """The audit's own backend, then those it is to agree with.

    Parameters
    ----------
    config : AuditConfig
    pool : Pool
        Its inputs' shapes fill those that the model leaves free.
    cpu : OnnxruntimeBackend
        What observes ranges, whichever backend is audited.

    Raises
    ------
    BackendError
        A backend isn't usable here, or can't run a precision that is asked for. All at once.
    """
    settings = config.audit
    made: dict[BackendName, AnyBackend] = {}
    problems: list[Problem] = []
    for name in (settings.backend, *settings.agree_with):
        where = f"{config.path}: audit.{'backend' if name == settings.backend else 'agree_with'}"
        try:
            made[name] = _made(name, config, pool, cpu)
        except BackendError as error:
            problems += [Problem(p.message, where, p.next_step) for p in error.problems]
            continue
        problems += _lacking(made[name], ("fp32", *settings.precisions), where)
    if problems:
        raise BackendError.of(problems)
    return made


def _made(
    name: BackendName, config: AuditConfig, pool: Pool, cpu: OnnxruntimeBackend
) -> AnyBackend:
    if name == "onnxruntime":
        return cpu
    backend = TensorrtBackend(
        name,
        max_batch=config.audit.batch_size,
        sizes={key: spec.shape for key, spec in pool.inputs.items()},
        compute_capability=config.audit.compute_capability if name == "tensorrt_rtx" else None,
        timing_cache=config.folder / "engines" / f"{name}.timing",
    )
    backend.require_gpu()
    return backend


def _lacking(backend: AnyBackend, wanted: tuple[Precision, ...], where: str) -> list[Problem]:
    able = backend.capabilities.precisions
    missing = [precision for precision in wanted if precision not in able]
    if not missing:
        return []
    step = f"Name another backend ({', '.join(get_args(BackendName))}), or other precisions."
    return [Problem(f"{backend.name} can't run {', '.join(missing)} here", where, step)]


def backend_keys(backends: Mapping[BackendName, AnyBackend]) -> dict[BackendName, str]:
    """What results depend on besides the graph, per backend."""
    return {name: backend.key for name, backend in backends.items()}
