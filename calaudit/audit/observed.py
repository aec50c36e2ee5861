"""The ranges of an audit: observed, or read where an earlier run left them."""

from collections.abc import Mapping
from dataclasses import dataclass

from calaudit.audit.plan import Plan
from calaudit.audit.prepare import Audit
from calaudit.audit.store import Store
from calaudit.calibration.batching import Batching
from calaudit.calibration.observation import Observation
from calaudit.formats.calibset import Calibset
from calaudit.formats.ranges import open_ranges
from calaudit.runtime.errors import Notice
from calaudit.steps.calibrate import calibrate, observation_notices
from calaudit.steps.complete import observe_network
from calaudit.steps.observe import load_to_observe
from calaudit.steps.tuning import SOURCE, observe_tuning


@dataclass(frozen=True, slots=True)
class Observed:
    """Distributions over all calibration sets."""

    taps: Observation | None = None
    """Of the tensors that get Q/DQ; None where no engine is INT8."""
    network: Observation | None = None
    """Of all tensors of the network that TensorRT's parser makes of the model as given; None where
    no engine is quantized implicitly by ranges of ours."""
    slices: Observation | None = None
    """As `taps`, of the slices of the tuning rows; None where there are no such rows."""

    @property
    def notices(self) -> list[Notice]:
        """What is to be said of the passes."""
        passes = [(each, "") for each in (self.taps, self.network) if each is not None]
        passes += [] if self.slices is None else [(self.slices, SOURCE)]
        return list(
            dict.fromkeys(
                told for each, where in passes for told in observation_notices(each, where)
            )
        )


def observe_all(audit: Audit, sets: Mapping[str, Calibset], store: Store) -> Observed:
    """Observe what isn't in the store yet.

    Raises
    ------
    RangesError
        An activation is NaN or infinite: names the tap and the samples.
    """
    if "int8" not in audit.config.audit.precisions:
        return Observed()
    if not sets:  # every engine's ranges are given
        return Observed(slices=_slices(audit, store))
    return Observed(_taps(audit, sets, store), _network(audit, sets, store), _slices(audit, store))


def open_observed(plan: Plan) -> Observed:
    """What a run has observed, those parts that are there."""
    found = (
        open_ranges(path) if path is not None and path.exists() else None
        for path in (plan.ranges, plan.network_ranges, plan.slice_ranges)
    )
    return Observed(*found)


def _taps(audit: Audit, sets: Mapping[str, Calibset], store: Store) -> Observation:
    if store.holds(audit.plan.ranges):
        return open_ranges(audit.plan.ranges)
    observation = calibrate(
        audit.folded,
        audit.qdq,
        sets,
        audit.backend,
        audit.plan.ranges,
        batch_size=audit.config.audit.batch_size,
        batching=_batching(audit),
        slices={
            name: audit.pool_slices.take(drawn.rows)
            for name, drawn in sets.items()
            if drawn.pool_fingerprint == audit.pool.fingerprint()
        },
    )
    store.keep(audit.plan.ranges)
    return observation


def _network(audit: Audit, sets: Mapping[str, Calibset], store: Store) -> Observation | None:
    path = audit.plan.network_ranges
    if path is None or audit.network is None:
        return None
    if store.holds(path):
        return open_ranges(path)
    observation = observe_network(
        audit.network,
        sets,
        audit.backend,
        path,
        batch_size=audit.config.audit.batch_size,
        batching=_batching(audit),
    )
    store.keep(path)
    return observation


def _slices(audit: Audit, store: Store) -> Observation | None:
    path, rows = audit.plan.slice_ranges, audit.tuning.observed
    if path is None:
        return None
    if store.holds(path):
        return open_ranges(path)
    observation = observe_tuning(
        load_to_observe(audit.folded, audit.qdq.taps, audit.backend),
        audit.pool,
        rows,
        audit.pool_slices.take(rows),
        path,
        batch_size=audit.config.audit.batch_size,
    )
    store.keep(path)
    return observation


def _batching(audit: Audit) -> Batching | None:
    """How sets are cut for ``entropy-trt``; None where a second pass isn't needed."""
    settings = audit.config.audit
    return settings.batching if settings.counts_again else None
