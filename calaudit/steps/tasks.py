"""Tasks: how a model's output is judged against the pool's targets, as an audit file says it."""

from collections.abc import Mapping
from typing import Any, Literal

from calaudit.runtime.errors import SettingsError, near
from calaudit.runtime.settings import parse_settings, setting


@setting
class Tail:
    """Which items are the long tail: those outside the head."""

    head_interactions: float | None = None
    """The head holds this share of all interactions (0.8 is usual)."""
    head_items: float | None = None
    """The head is this share of the items, the most popular ones."""
    items: tuple[str, ...] = ()
    """Retrieval: the labels that form the tail, named."""

    def __post_init__(self) -> None:
        """Exactly one way of saying it."""
        given = [self.head_interactions is not None, self.head_items is not None, bool(self.items)]
        if sum(given) != 1:
            raise SettingsError("give exactly one of head_interactions, head_items, items")
        for share in (self.head_interactions, self.head_items):
            if share is not None and not 0 < share < 1:
                raise SettingsError(f"a share must lie between 0 and 1 (got {share})")


@setting
class Classification:
    """One class index per sample; the output holds one logit per class."""

    kind: Literal["classification"] = "classification"
    target: str = "label"
    output: str | None = None
    """The model's output; not needed when it has only one."""
    classes: tuple[str, ...] | None = None
    """Where the target holds names: the classes in the order of the model's outputs. Not needed
    where the pool keeps them."""
    metrics: tuple[str, ...] = (
        "top1",
        "balanced_accuracy",
        "nll",
        "top1_agreement",
        "cosine",
        "max_abs_diff",
    )

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise SettingsError("classes holds a name twice")


@setting
class Regression:
    """One number per sample, or several; the output holds as many."""

    kind: Literal["regression"]
    target: str = "value"
    output: str | None = None
    metrics: tuple[str, ...] = ("mae", "rmse", "r2", "max_abs_diff")


@setting
class Sequence:
    """One text per sample; the output holds token numbers, or logits that CTC decodes greedily."""

    kind: Literal["sequence"]
    vocabulary: tuple[str, ...] | str
    """Text of each token, or the path of a file that holds them: one per line, or JSON."""
    target: str = "text"
    output: str | None = None
    blank: int | None = None
    """Number of CTC's blank token; needed where the output holds logits."""
    end: str | None = None
    """Token that ends a text."""
    silent: tuple[str, ...] = ()
    """Tokens that aren't written, such as ``<pad>``."""
    space: str | None = None
    """Text within tokens that stands for a space, such as ``|`` or ``▁``."""
    ignore_case: bool = False
    ignore_punctuation: bool = False
    """Both drop what doesn't count from the true texts and the model's alike."""
    metrics: tuple[str, ...] = ("wer", "cer", "exact_match")

    def __post_init__(self) -> None:
        """Names must be those of tokens, where the tokens are given."""
        if not self.vocabulary:
            raise SettingsError("vocabulary is empty", next_step="Name the text of each token.")
        if self.blank is not None and self.blank < 0:
            raise SettingsError(f"blank is {self.blank}", next_step="Give the token's number.")


_RANKING_METRICS = (
    "ndcg@10",
    "recall@10",
    "coverage@10",
    "gini@10",
    "long_tail_share@10",
    "overlap@10",
    "ties_at_cut@10",
)


@setting
class Ranking:
    """Listwise: one row per query, the output scores every item of the catalogue."""

    kind: Literal["ranking"]
    output: str | None = None
    relevance: str = "relevance"
    exclude: str | None = None
    """Target (N, items) that marks what may not be shown; default: `exclude` if the pool has it."""
    popularity: str | None = "popularity"
    """Item column with interaction counts; None: summed relevance over the evaluated queries."""
    vectors: str | None = None
    """Item column with vectors, for intra-list diversity; without one, genres serve."""
    genres: str | None = "genres"
    """Item column with the genres of each, separated by ``|``, commas or spaces."""
    history: str | None = None
    """Target (N, items) that marks what the user had dealt with before, for genre calibration;
    default: what is excluded."""
    names: str | None = "title"
    """Item column that tells people which item is meant; without it, `id` or the number serves."""
    tail: Tail = Tail(head_interactions=0.8)
    metrics: tuple[str, ...] = _RANKING_METRICS


@setting
class Pairwise:
    """One row per (query, item); the output holds one score."""

    kind: Literal["pairwise"]
    output: str | None = None
    query: str = "query"
    item: str = "item"
    relevance: str = "relevance"
    tail: Tail = Tail(head_interactions=0.8)
    metrics: tuple[str, ...] = _RANKING_METRICS


@setting
class Retrieval:
    """Query → gallery by cosine of embeddings: gallery rows are items, relevant if labels agree."""

    kind: Literal["retrieval"]
    gallery: str
    """SQL predicate: the rows that are shown."""
    output: str | None = None
    target: str = "label"
    popularity: str | None = None
    """Metadata column with a gallery row's interaction count."""
    tail: Tail | None = None
    metrics: tuple[str, ...] = _RANKING_METRICS


Task = Classification | Regression | Sequence | Ranking | Pairwise | Retrieval

TASKS: Mapping[str, type[Task]] = {
    "classification": Classification,
    "regression": Regression,
    "sequence": Sequence,
    "ranking": Ranking,
    "pairwise": Pairwise,
    "retrieval": Retrieval,
}


def parse_task(values: Mapping[str, Any], *, where: object, at: str) -> Task:
    """One ``[[tasks]]`` table, by its `kind`. Raises `SettingsError`."""
    kind = str(values.get("kind"))
    if kind not in TASKS:
        raise SettingsError(
            f"kind must be one of {', '.join(TASKS)} (got {kind})",
            where=f"{where}: {at}.kind",
            next_step=near(kind, TASKS),
        )
    return parse_settings(values, TASKS[kind], where=where, at=at)
