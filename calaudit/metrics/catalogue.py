"""The catalogue of metrics: what each name means and which definition computes it.

Each metric's conventions in a sentence, for reports that must stand alone.

What people call metrics: which of ours a name means that isn't one of them.

Every family of metrics, by the question it answers.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from calaudit.metrics.agreement import AGREEMENT
from calaudit.metrics.base import Definition, Metric
from calaudit.metrics.classification import CLASSIFICATION
from calaudit.metrics.diversity import DIVERSITY
from calaudit.metrics.own import own_definition, registered
from calaudit.metrics.ranking import RANKING
from calaudit.metrics.regression import REGRESSION
from calaudit.metrics.sequence import SEQUENCE
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


def convention_of(metric: Metric) -> str:
    """The definition's choices: what is averaged, ties, gain, what is left out."""
    return definition_of(metric).convention


_NAMES: Final[Mapping[str, str]] = {
    "top": "top, top acc, top error, accuracy, acc, score, correct, error, err, error rate, "
    "zero one loss, misclassification rate, micro f1, f1 micro, categorical accuracy, "
    "sparse categorical accuracy",
    "balanced_accuracy": "bacc, bal acc, balanced acc, uar, macro recall, recall macro, "
    "mean recall, mean class accuracy, mean per class accuracy, sensitivity",
    "macro_f1": "f1, f1 score, f score, f measure, weighted f1, precision, macro precision",
    "nll": "loss, log loss, cross entropy, ce, xent, perplexity, ppl",
    "ece": "calibration, calibration error",
    "mae": "l1, absolute error, mad",
    "mse": "l2, squared error",
    "rmse": "rms, rms error",
    "r2": "r squared, r2 score, explained variance, coefficient of determination",
    "wer": "word error, word accuracy",
    "cer": "character error, char error rate",
    "exact_match": "em, exact, string match, sentence accuracy, ser, sentence error rate",
    "ndcg": "dcg, normalized discounted cumulative gain",
    "recall": "hit, hits, hit rate, hit ratio, hr, precision",
    "mrr": "rr, reciprocal rank",
    "map": "ap, average precision, precision, p",
    "coverage": "catalog coverage, catalogue coverage, item coverage",
    "gini": "gini index, gini coefficient",
    "exposure_entropy": "entropy, shannon entropy",
    "long_tail_share": "long tail, tail share, aplt",
    "arp": "popularity, popularity bias, average recommendation popularity",
    "intra_list_diversity": "ild, diversity",
    "top1_agreement": "agreement, fidelity, consistency, match rate",
    "cosine": "cosine similarity, cos sim, cosine distance",
    "max_abs_diff": "max diff, max abs error, max error, linf",
    "kendall": "tau, kendall tau, kendalls tau, spearman, spearmanr, rank correlation",
}
"""Family → what it is called elsewhere, and names whose nearest it is."""
_BEFORE: Final = re.compile(r"^(mean|avg|val|test|eval)")
_AFTER: Final = re.compile(r"(loss|metric|value|percent|pct)$")
_CUT: Final = re.compile(r"@\s*(\d+)|(?<=top)[\s_-]*(\d+)")


def meant_metrics(name: str, titles: Mapping[str, str], cut: Collection[str]) -> list[str]:
    """Our metrics that `name` means in plain usage, spelled as `parse_metric` reads them.

    Parameters
    ----------
    name : str
        ``"Accuracy"``, ``"acc@5"``, ``"top-1"``, ``"WER %"``, ``"hit rate@10"``.
    titles : mapping
        Family → its title.
    cut : collection of str
        Families that need a rank at which lists are cut.

    Examples
    --------
    >>> meant_metrics("acc@5", {"top": "Top-{k} accuracy"}, ["top"])
    ['top5']
    """
    found = _CUT.search(name.casefold())
    k = int(found[1] or found[2]) if found else None
    plain = _plain(_CUT.sub("", name.casefold()))
    called = _called(titles)
    bare = _BEFORE.sub("", plain)
    tries = (plain, bare, _AFTER.sub("", plain), _AFTER.sub("", bare))
    families: list[str] = next(filter(None, map(called.get, tries)), [])
    if k is not None:
        families = [family for family in families if family in cut] or families
    return [_spelled(family, k, family in cut) for family in families]


def _called(titles: Mapping[str, str]) -> dict[str, list[str]]:
    """Every name that a family goes by, in letters and digits alone."""
    called: dict[str, list[str]] = {}
    for family, title in titles.items():
        names = [family, title.replace("{k}", ""), *_NAMES.get(family, "").split(",")]
        for plain in dict.fromkeys(map(_plain, names)):
            if plain:
                called.setdefault(plain, []).append(family)
    return called


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _spelled(family: str, k: int | None, cut: bool) -> str:
    if family == "top":
        return f"top{k or 1}"
    return f"{family}@{k or 10}" if cut else family


DEFINITIONS: Mapping[str, Definition] = {
    **CLASSIFICATION,
    **REGRESSION,
    **SEQUENCE,
    **RANKING,
    **DIVERSITY,
    **AGREEMENT,
}
