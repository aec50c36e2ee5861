"""What people call metrics: which of ours a name means that isn't one of them."""

import re
from collections.abc import Collection, Mapping
from typing import Final

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
