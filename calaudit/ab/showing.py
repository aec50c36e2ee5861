"""A replay shown to Prometheus while it runs: what `live` needs of an audit and its requests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from calaudit.ab.live import Address, LiveMetrics, chosen_dimensions, exposed
from calaudit.ab.run import Live
from calaudit.runtime.errors import Notice


def shown_live(
    address: str, by: Sequence[str], *, timeout_s: float, tell: Callable[[Notice], None]
) -> Callable[[Live], AbstractContextManager[LiveMetrics]]:
    """What `ab_audit` is given as `watching` to serve metrics for as long as requests run.

    Parameters
    ----------
    address : str
        ``PORT`` or ``HOST:PORT``.
    by : sequence of str
        Dimensions of the audit whose slices get histograms of their own; none: as many as are
        usual.
    timeout_s : float
        What requests that timed out count as.
    tell : callable
        Is told where the metrics are.

    Raises
    ------
    SettingsError
        `address` isn't one.
    """
    place = Address.parse(address)

    @contextmanager
    def showing(live: Live) -> Iterator[LiveMetrics]:
        audit, requests = live.audit, live.requests
        known = np.searchsorted(audit.evaluated, requests.rows)
        known = np.minimum(known, len(audit.evaluated) - 1)
        groups = {
            each.name: (each.labels, np.where(requests.judged, each.codes[known], -1))
            for each in chosen_dimensions(audit.slices, by)
        }
        metrics = LiveMetrics(audit.config.audit.name, live.arms, groups, timeout_s=timeout_s)
        with exposed(metrics.registry, place) as where:
            tell(Notice("metrics", where, "live metrics"))
            yield metrics

    return showing
