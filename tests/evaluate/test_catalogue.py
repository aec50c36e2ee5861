import pytest

from calaudit.errors import SettingsError
from calaudit.evaluate import convention_of, known_metrics, parse_metric


@pytest.mark.parametrize("name", known_metrics())
def test_every_known_metric_parses_to_itself_and_states_its_conventions(name):
    written = name.replace("topk", "top5").replace("@k", "@10")
    metric = parse_metric(written)
    assert metric.name == str(metric) == written
    assert parse_metric(metric.name) == metric
    assert hash(parse_metric(metric.name)) == hash(metric)
    assert metric.title
    assert "{" not in metric.title
    assert convention_of(metric)
    assert (metric.k is not None) == (written.endswith(("@10", "top5")))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ndgc@10", "ndcg"),
        ("top-1", "top1"),
        ("accuracy", "balanced_accuracy"),
        ("", "Known"),
        ("nll_", "nll"),
        ("long_tail@5", "long_tail_share"),
    ],
)
def test_an_unknown_metric_is_refused_with_the_near_ones(name, near):
    with pytest.raises(SettingsError, match="no metric") as error:
        parse_metric(name)
    assert near in (error.value.problems[0].next_step or "")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ndcg", "needs the rank"),
        ("nll@5", "takes no cut"),
        ("ndcg@0", "shows nothing"),
        ("top0", "shows nothing"),
    ],
)
def test_a_cut_that_is_missing_superfluous_or_0_is_refused(name, why):
    with pytest.raises(SettingsError, match=why):
        parse_metric(name)


def test_kinds_and_directions_are_those_of_the_statistics():
    kinds = {n: parse_metric(n).kind for n in ("top1", "ties_at_cut@5", "nll", "coverage@5")}
    assert kinds == {
        "top1": "binary",
        "ties_at_cut@5": "binary",
        "nll": "mean",
        "coverage@5": "set",
    }
    lower = [
        n for n in ("top1", "nll", "gini@5", "max_abs_diff") if not parse_metric(n).higher_is_better
    ]
    assert lower == ["nll", "gini@5", "max_abs_diff"]
    assert parse_metric("overlap@5").is_agreement
