"""Metrics of one text per sample."""

from collections.abc import Mapping

from calaudit.evaluate.definition import Definition
from calaudit.evaluate.metrics import sequence

SEQUENCE: Mapping[str, Definition] = {
    "wer": Definition(
        title="Word error rate",
        kind="ratio",
        needs="texts",
        direction="lower_is_better",
        span=None,
        compute=sequence.wer,
        convention="substituted, deleted and inserted words over the words of the true texts",
    ),
    "cer": Definition(
        title="Character error rate",
        kind="ratio",
        needs="texts",
        direction="lower_is_better",
        span=None,
        compute=sequence.cer,
        convention="substituted, deleted and inserted characters over those of the true texts, "
        "single spaces included",
    ),
    "exact_match": Definition(
        title="Exact match",
        kind="binary",
        needs="texts",
        compute=sequence.exact_match,
        convention="share of samples whose text is the true one, but for white space",
    ),
}
