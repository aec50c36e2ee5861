"""What holds of every metric, calaudit's own and those of other packages: one body for all."""

import numpy as np
import pytest

from calaudit.metrics.base import definition_in
from calaudit.metrics.catalogue import (
    METRICS,
    convention_of,
    definition_of,
    definitions,
    known_metrics,
    parse_metric,
    suggest_metric,
)
from calaudit.metrics.scoring import perfect, score, tie_bounds
from calaudit.metrics.set_statistics import Sums
from calaudit.metrics.truth import Values
from calaudit.metrics.unit_scores import RatioScores, SetScores, UnitScores, concatenate
from calaudit.runtime.errors import SettingsError
from tests.metrics.every_metric import NAMES, K, column_world, form_of, world
from tests.packages import EXAMPLE, installed

OF_THE_EXAMPLE = ("brier", f"hit_rate@{K}", "kappa")
FORMS = {"binary": UnitScores, "mean": UnitScores, "ratio": RatioScores, "set": SetScores}


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory):
    with installed(EXAMPLE, tmp_path_factory.mktemp("metadata")):
        yield


@pytest.fixture(params=[*NAMES, *OF_THE_EXAMPLE])
def name(request):
    return request.param


def test_no_metric_is_left_out_here():
    tried = {parse_metric(name).family for name in [*NAMES, *OF_THE_EXAMPLE]}
    ours = "calaudit.metrics.truth"  # those of a package's own truth are tried with its tasks
    assert tried == {
        name
        for name, definition in definitions().items()
        if definition.needs is None or definition.needs.__module__ == ours
    }
    assert METRICS.package("brier") == "calaudit-example"


def test_its_facts_are_complete(name):
    metric, definition = parse_metric(name), definition_of(parse_metric(name))
    assert parse_metric(metric.name) == metric
    assert metric.title.strip() == metric.title != ""
    assert "{" not in metric.title
    assert "\n" not in convention_of(metric)
    assert len(convention_of(metric)) > 10
    assert definition.cut == (metric.k is not None)
    assert definition_in(definition.function) is definition
    if metric.unit == "fraction" and metric.span == 1.0:
        assert metric.worst == (0.0 if metric.higher_is_better else 1.0)


def test_scores_have_the_form_of_its_kind_and_add_up_in_any_order_and_in_batches(name):
    fp32, engine, truth = world(name)
    metric, n = parse_metric(name), len(fp32)
    whole = score(metric, engine, truth, fp32)
    assert isinstance(whole, FORMS[metric.kind])
    assert len(whole) == n
    assert np.isfinite(whole.value())
    order = np.random.default_rng(1).permutation(n)
    mixed = score(metric, engine[order], truth.take(order), fp32[order])
    assert mixed.value() == pytest.approx(whole.value(), rel=1e-9)
    parts = [np.arange(0, 17), np.arange(17, n)]
    joined = concatenate(
        [score(metric, engine[part], truth.take(part), fp32[part]) for part in parts]
    )
    assert joined.value() == pytest.approx(whole.value(), rel=1e-9)


def differs_from_a_column_of_targets(name):
    """Whether a metric of values takes flat targets, (n,), for something else than (n, 1)."""
    fp32, engine, flat = column_world()
    column = Values(flat.target[:, None])
    found = [score(parse_metric(name), engine, truth, fp32) for truth in (flat, column)]
    rows = np.arange(len(fp32))
    each = [[one.value(rows[unit : unit + 9]) for unit in rows[:-9]] for one in found]
    return not np.allclose(*each, rtol=1e-9)


def test_a_column_of_outputs_is_compared_with_flat_targets_sample_by_sample():
    of_values = [each for each in [*NAMES, *OF_THE_EXAMPLE] if form_of(each) == "values"]
    assert {"mae", "rmse", "r2"} <= set(of_values)
    assert [each for each in of_values if differs_from_a_column_of_targets(each)] == []


def test_a_metric_that_broadcasts_outputs_over_targets_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "careless_metrics.py").write_text(
        "from calaudit.metrics.base import metric\n"
        "from calaudit.metrics.truth import Values\n"
        "@metric('mean', higher_is_better=False, unit='target', needs=Values)\n"
        "def max_error(outputs, target):\n"
        "    return abs(outputs - target).max(axis=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert form_of("careless_metrics:max_error") == "values"
    assert differs_from_a_column_of_targets("careless_metrics:max_error")


def test_fp32_beside_itself_loses_nothing_and_is_perfect_where_likeness_is_measured(name):
    fp32, _, truth = world(name)
    metric = parse_metric(name)
    reference = score(metric, fp32, truth, fp32)
    if metric.is_agreement:
        reference = perfect(metric, reference)
    if metric.perfect is not None:
        assert reference.value() == metric.perfect
    again = score(metric, fp32.copy(), truth, fp32)
    assert again.value() == pytest.approx(reference.value(), abs=1e-9)


def test_one_unit_moves_it_no_further_than_its_span_or_its_influence(name):
    fp32, engine, truth = world(name, engine_noise=2.0)
    metric, n = parse_metric(name), len(fp32)
    before = score(metric, fp32, truth, fp32)
    for unit in range(0, n, 7):
        changed = fp32.copy()
        changed[unit] = engine[unit]
        after = score(metric, changed, truth, fp32)
        moved = abs(after.value() - before.value())
        if isinstance(before, SetScores) and isinstance(before.statistics, Sums):
            assert moved <= before.statistics.most(np.arange(n))(n) + 1e-9
        elif metric.span is not None and isinstance(before, UnitScores):
            assert moved <= metric.span / before.present.sum() + 1e-9


def test_ties_move_it_within_its_bounds(name):
    fp32, engine, truth = world(name)
    bounds = tie_bounds(parse_metric(name), engine, truth, fp32)
    if bounds is not None:
        found, sign = score(parse_metric(name), engine, truth, fp32), 1.0
        if not parse_metric(name).higher_is_better:
            sign = -1.0
        assert sign * bounds.worst.value() <= sign * found.value() + 1e-9
        assert sign * found.value() <= sign * bounds.best.value() + 1e-9


def test_a_unit_whose_output_is_not_a_number_has_no_score(name):
    fp32, engine, truth = world(name)
    broken = engine.copy()
    broken[3] = None if engine.dtype.kind == "O" else np.nan
    assert not score(parse_metric(name), broken, truth, fp32).present[3]


def test_it_is_found_by_what_it_is_called(name):
    metric, definition = parse_metric(name), definition_of(parse_metric(name))
    for called in definition.synonyms:
        asked = called if metric.k is None else f"{called}@{metric.k}"
        assert metric.name in suggest_metric(asked).replace("?", "").split(), called


def test_metrics_of_other_packages_are_listed_with_calaudits_own():
    assert {"brier", "hit_rate@k", "kappa", "topk", "ndcg@k"} <= set(known_metrics())
    with pytest.raises(SettingsError, match="hit_rate needs the rank"):
        parse_metric("hit_rate")
    assert suggest_metric("briar") == "Did you mean brier?"
    by_path = parse_metric(f"calaudit_example.metrics:hit_rate@{K}")
    fp32, engine, truth = world(f"hit_rate@{K}")
    by_name = score(parse_metric(f"hit_rate@{K}"), engine, truth, fp32)
    assert score(by_path, engine, truth, fp32).value() == by_name.value()


def test_a_name_of_calaudits_own_is_refused_where_it_is_asked_for(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "rival"\nversion = "1"\n'
        '[project.entry-points."calaudit.metrics"]\nnll = "calaudit_example.metrics:brier"\n'
    )
    with installed(tmp_path, tmp_path / "metadata"):
        assert definitions()["nll"].function.__module__.startswith("calaudit.metrics")
        assert parse_metric("top1").title == "Top-1 accuracy"
        with pytest.raises(SettingsError, match=r"calaudit and rival both offer .* 'nll'") as error:
            parse_metric("nll")
    assert "Uninstall rival, or rename nll" in str(error.value)


def test_a_name_within_a_module_that_calaudit_has_too_leaves_the_modules_others(tmp_path):
    text = """
from calaudit.metrics.base import metric

@metric("mean")
def mine(outputs):
    return outputs[:, 0]

@metric("mean")
def mrr(outputs):
    return outputs[:, 0]
"""
    (tmp_path / "rival_module.py").write_text(text)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "rival"\nversion = "1"\n'
        '[project.entry-points."calaudit.metrics"]\nmore = "rival_module"\n'
    )
    with installed(tmp_path, tmp_path / "metadata"):
        assert parse_metric("mine").kind == "mean"
        assert definitions()["mrr"].function.__module__.startswith("calaudit.metrics")


def test_a_package_that_cannot_be_imported_stops_no_metric_but_its_own(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "broken"\nversion = "1"\n'
        '[project.entry-points."calaudit.metrics"]\ngone = "a_module_that_is_not_there:gone"\n'
    )
    with installed(tmp_path, tmp_path / "metadata"):
        assert parse_metric("top1").title == "Top-1 accuracy"
        with pytest.raises(SettingsError, match="of the package broken can't be imported"):
            parse_metric("gone")
