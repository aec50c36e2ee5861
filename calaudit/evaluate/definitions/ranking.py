"""Metrics of where the relevant items are: whether in the top k, and how high up."""

from collections.abc import Mapping

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.metrics import precision, ranking

TIES = "expected value over the order of ties"
_LEFT_OUT = "queries without a relevant item are left out"

RANKING: Mapping[str, Definition] = {
    "ndcg": Definition(
        title="nDCG@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        shown_only=True,
        compute=ranking.ndcg,
        bounds=ranking.ndcg_bounds,
        convention=f"linear gain, log2 discount; {_LEFT_OUT}; {TIES}",
    ),
    "ndcg_exp": Definition(
        title="nDCG@{k} (gain 2^r − 1)",
        kind="mean",
        needs="relevance",
        cut=True,
        shown_only=True,
        compute=ranking.ndcg_exp,
        bounds=ranking.ndcg_exp_bounds,
        convention=f"gain 2^r − 1, log2 discount; {_LEFT_OUT}; {TIES}",
    ),
    "recall": Definition(
        title="Recall@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        shown_only=True,
        compute=ranking.recall,
        bounds=ranking.recall_bounds,
        convention=f"relevant items in the top k over all relevant; {_LEFT_OUT}; {TIES}",
    ),
    "mrr": Definition(
        title="MRR@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        compute=precision.mrr,
        bounds=precision.mrr_bounds,
        convention="1/place of the first relevant item, 0 if it isn't in the top k; "
        f"{_LEFT_OUT}; {TIES}",
    ),
    "map": Definition(
        title="MAP@{k}",
        kind="mean",
        needs="relevance",
        cut=True,
        compute=precision.average_precision,
        bounds=precision.average_precision_bounds,
        convention="precision at each relevant item of the top k, added up, over the smaller of k "
        f"and the relevant items; {_LEFT_OUT}; {TIES}",
    ),
    "ties_at_cut": Definition(
        title="Ties at rank {k}",
        kind="binary",
        needs="relevance",
        cut=True,
        direction="lower_is_better",
        compute=ranking.ties_at_cut,
        convention="share of queries with a tie across rank k",
    ),
}
