"""The catalogue of metrics: what each name means and which definition computes it."""

import re
from collections.abc import Sequence

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.definitions import DEFINITIONS
from calaudit.evaluate.metric import Metric
from calaudit.evaluate.own import own_definition, registered
from calaudit.evaluate.synonyms import meant_metrics
from calaudit.runtime.errors import SettingsError, near


def known_metrics() -> list[str]:
    """Names that `parse_metric` reads, with k standing for a number."""
    return [
        "topk" if family == "top" else f"{family}@k" if definition.cut else family
        for family, definition in DEFINITIONS.items()
    ]


def parse_metric(name: str) -> Metric:
    """The metric of that name: ``top1``, ``nll``, ``ndcg@10``, ``my_metrics:brier`` and so on.

    Raises
    ------
    SettingsError
        The name isn't known, its cut is missing, superfluous or 0, or the user's own function can't
        serve as a metric.

    Examples
    --------
    >>> parse_metric("ndcg@10").title
    'nDCG@10'
    """
    if top := re.fullmatch(r"top[_@]?(\d+)", name):
        return _metric("top", f"top{int(top[1])}", int(top[1]))
    if ":" in name:
        return own_definition(name).metric(name, name)
    found = re.fullmatch(r"([a-z0-9_]+?)(?:@(\d+))?", name)
    if found is None or found[1] not in DEFINITIONS or found[1] == "top":
        return _registered(name)
    family, k = found[1], found[2]
    if DEFINITIONS[family].cut and k is None:
        raise SettingsError(
            f"{name} needs the rank at which lists are cut", next_step=f"Write {name}@10."
        )
    if not DEFINITIONS[family].cut and k is not None:
        raise SettingsError(f"{family} takes no cut", next_step=f"Write {family}.")
    return _metric(family, family if k is None else f"{family}@{int(k)}", k and int(k))


def definition_of(metric: Metric) -> Definition:
    """How the metric is computed."""
    if metric.family in DEFINITIONS:
        return DEFINITIONS[metric.family]
    return own_definition(metric.family)


def _registered(name: str) -> Metric:
    """The metric that an installed package registers under `name`."""
    packages = registered()
    if name in packages:
        return own_definition(packages[name]).metric(name, packages[name])
    raise SettingsError(f"there is no metric {name!r}", next_step=suggest_metric(name))


def suggest_metric(name: str, among: Sequence[Metric] | None = None) -> str:
    """A next step for a name that isn't a metric's: the one it means in plain usage, or is like.

    Parameters
    ----------
    name : str
    among : sequence of Metric, optional
        What there is to choose from; by default every metric.
    """
    cut = [family for family, definition in DEFINITIONS.items() if definition.cut]
    titles = {family: definition.title for family, definition in DEFINITIONS.items()}
    meant = meant_metrics(name, titles, cut)
    if among is not None:
        families = {parse_metric(each).family for each in meant}
        meant = [metric.name for metric in among if metric.family in families]
    if meant:
        return f"Did you mean {' or '.join(meant)}?"
    if among is not None:
        return near(name, [metric.name for metric in among])
    known = ["top1", "top5", *(f for f in DEFINITIONS if f != "top"), *registered()]
    # Names are short: of those less alike than this, none is meant.
    told = near(name.partition("@")[0], known, cutoff=0.7)
    return told if told.startswith("Did") else f"{told} docs/metrics.md also tells of your own."


def _metric(family: str, name: str, k: int | str | None) -> Metric:
    cut = None if k is None else int(k)
    if cut == 0:
        raise SettingsError(f"{name} shows nothing", next_step="Choose k ≥ 1.")
    return DEFINITIONS[family].metric(name, family, cut)
