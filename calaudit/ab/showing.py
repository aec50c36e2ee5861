"""A replay shown to Prometheus while it runs: what `live` needs of an audit and its requests."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from calaudit.ab.live import Address, LiveMetrics, chosen_dimensions, exposed
from calaudit.ab.looking import Looker
from calaudit.ab.run import Live
from calaudit.runtime.errors import Notice


def shown_live(
    address: str, by: Sequence[str], tell: Callable[[Notice], None]
) -> Callable[[Live], AbstractContextManager[Looker]]:
    """What `ab_audit` is given as `watching` to serve metrics for as long as requests run.

    Parameters
    ----------
    address : str
        ``PORT`` or ``HOST:PORT``.
    by : sequence of str
        Dimensions of the audit whose slices get histograms of their own; none: as many as are
        usual.
    tell : callable
        Is told where the metrics are.

    Raises
    ------
    SettingsError
        `address` isn't one.
    """
    place = Address.parse(address)

    @contextmanager
    def showing(live: Live) -> Iterator[Looker]:
        audit, rows = live.audit, live.requests.rows
        dimensions = chosen_dimensions(audit.pool_slices, by)
        groups = {each.name: (each.labels, each.codes[rows]) for each in dimensions}
        name = audit.config.audit.name
        metrics = LiveMetrics(name, live.asked.named, groups, timeout_s=live.asked.timeout_s)
        looker = Looker(live, metrics, [label for each in dimensions for label in each.labels])
        with exposed(metrics.registry, place) as where, looker.looking():
            tell(Notice("metrics", where, "live metrics"))
            yield looker

    return showing
