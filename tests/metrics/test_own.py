import sys

import numpy as np
import pytest

from calaudit.metrics.base import metric
from calaudit.metrics.catalogue import convention_of, make_importable, parse_metric
from calaudit.metrics.scoring import perfect, score
from calaudit.metrics.truth import Labels, Relevance
from calaudit.metrics.unit_scores import RatioScores
from calaudit.runtime.errors import SettingsError
from calaudit.statistics.compare import compare_cells

MODULE = '''
"""Metrics of a user's own."""
import numpy as np
from calaudit.metrics.base import metric

@metric("mean", higher_is_better=False, span=2.0)
def brier(outputs, target):
    """Squared distance of the probabilities from the label's one-hot vector."""
    return ((outputs - np.eye(outputs.shape[1])[target]) ** 2).sum(axis=1)

@metric("binary")
def right(target, outputs):
    return outputs.argmax(axis=1) == target

@metric("ratio", title="Loss per weight", higher_is_better=False)
def weighed(outputs, target):
    return 1.0 * (outputs.argmax(axis=1) != target), target + 1

@metric("mean")
def likeness(outputs, reference):
    return 1 - np.abs(outputs - reference).mean(axis=1)

@metric("mean")
def of_shown(outputs, target, exclude, popularity, tail):
    return np.where(exclude, 0, target * popularity * ~tail).sum(axis=1)

@metric("mean")
def too_few(outputs):
    return outputs[1:, 0]

@metric("binary")
def not_binary(outputs):
    return outputs[:, 0]

@metric("mean")
def greedy(outputs, labels):
    return outputs

@metric("mean")
def raises(outputs):
    raise KeyError("brightness")

@metric("mean")
def writes(outputs):
    outputs -= outputs.max()
    return outputs[:, 0]

@metric("mean")
def writes_target(target):
    target[:] = 0
    return target

@metric("mean", agreement=False)
def writes_reference(reference):
    reference.sort(axis=1)
    return reference[:, 0]

@metric("mean")
def writes_case(case):
    case.outputs[0] = 0
    return case.outputs[:, 0]

def plain(outputs, target):
    return outputs[:, 0]
'''


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "users_own_metrics.py").write_text(MODULE)
    (path / "broken_metrics.py").write_text("import a_module_that_is_not_there\n")
    before = list(sys.path)
    make_importable(path)
    yield path
    sys.path[:] = before


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 400)
    outputs = rng.dirichlet(np.ones(3), 400)
    return outputs, Labels(label)


def test_a_function_and_a_kind_are_all_that_a_metric_needs(case):
    outputs, truth = case
    brier = parse_metric("users_own_metrics:brier")
    assert (brier.name, brier.title, brier.kind) == ("users_own_metrics:brier", "Brier", "mean")
    assert not brier.higher_is_better
    assert convention_of(brier).startswith("Squared distance")
    one_hot = np.eye(3)[truth.label]
    assert score(brier, outputs, truth).value() == pytest.approx(
        ((outputs - one_hot) ** 2).sum(axis=1).mean()
    )
    top1 = score(parse_metric("top1"), outputs, truth)
    assert (
        score(parse_metric("users_own_metrics:right"), outputs, truth).values == top1.values
    ).all()


def test_its_drops_are_judged_as_any_others(case):
    outputs, truth = case
    right = parse_metric("users_own_metrics:right")
    sure, noisy = np.eye(3)[truth.label], outputs
    found = compare_cells(
        right,
        score(right, sure, truth),
        {"same": score(right, sure, truth), "noise": score(right, noisy, truth)},
        {"all": np.arange(400)},
        max_drop=0.05,
    )
    assert [one.verdict for one in found] == ["PASS", "REGRESSED"]


def test_a_ratio_returns_numerators_and_denominators(case):
    outputs, truth = case
    scores = score(parse_metric("users_own_metrics:weighed"), outputs, truth)
    assert isinstance(scores, RatioScores)
    wrong = outputs.argmax(axis=1) != truth.label
    assert scores.value() == pytest.approx(wrong.sum() / (truth.label + 1).sum())


def test_one_that_asks_for_the_reference_measures_likeness_to_fp32(case):
    outputs, truth = case
    likeness = parse_metric("users_own_metrics:likeness")
    assert likeness.is_agreement
    found = score(likeness, outputs, truth, outputs)
    assert perfect(likeness, found).value() == 1.0
    assert score(likeness, outputs + 0.25, truth, outputs).value() == pytest.approx(0.75)


def test_a_ranking_metric_may_ask_for_what_is_known_of_the_items():
    relevance = np.array([[1, 1, 0]])
    truth = Relevance(
        relevance, relevance == 0, np.array([3.0, 5, 7]), np.array([False, True, True])
    )
    found = score(parse_metric("users_own_metrics:of_shown"), np.zeros((1, 3)), truth)
    assert found.values.tolist() == [3.0]


@pytest.mark.parametrize(
    ("name", "message", "next_step"),
    [
        ("users_own_metrics:brie", "no function 'brie'", "brier"),
        ("users_own_metric:brier", "no module 'users_own_metric'", "audit file"),
        (":brier", "no module ''", "audit file"),
        ("users_own_metrics:plain", "has no kind", "@calaudit.metric"),
        ("users_own_metrics:greedy", "asks for 'labels'", "target"),
    ],
)
def test_what_cannot_serve_as_a_metric_is_refused_with_a_next_step(name, message, next_step):
    with pytest.raises(SettingsError, match=message) as error:
        parse_metric(name)
    assert next_step in (error.value.problems[0].next_step or "")


def test_an_import_that_fails_within_the_users_module_names_the_line_and_what_is_missing():
    with pytest.raises(
        SettingsError,
        match=r"'broken_metrics' can't be imported \(.*broken_metrics.py, line 1\): "
        "ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
    ):
        parse_metric("broken_metrics:anything")


def test_what_a_metric_raises_names_the_function_and_its_line(case):
    outputs, truth = case
    line = MODULE.splitlines().index('    raise KeyError("brightness")') + 1
    with pytest.raises(
        SettingsError,
        match=rf"users_own_metrics:raises failed \(.*users_own_metrics.py, line {line}\): "
        "KeyError: 'brightness'",
    ):
        score(parse_metric("users_own_metrics:raises"), outputs, truth)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("writes", "    outputs -= outputs.max()"),
        ("writes_target", "    target[:] = 0"),
        ("writes_reference", "    reference.sort(axis=1)"),
        ("writes_case", "    case.outputs[0] = 0"),
    ],
)
def test_what_a_metric_is_given_it_cannot_change(case, name, code):
    outputs, truth = case
    before, label = outputs.copy(), truth.label.copy()
    line = MODULE.splitlines().index(code) + 1
    with pytest.raises(
        SettingsError, match=rf":{name} failed \(.*users_own_metrics.py, line {line}\).*read-only"
    ) as error:
        score(parse_metric(f"users_own_metrics:{name}"), outputs, truth, outputs)
    assert "Change a copy" in error.value.problems[0].next_step
    assert (outputs == before).all()
    assert (truth.label == label).all()


def test_scores_of_another_shape_or_kind_are_refused(case):
    outputs, truth = case
    with pytest.raises(SettingsError, match=r"returned float64 of shape \(399,\).* 400 units"):
        score(parse_metric("users_own_metrics:too_few"), outputs, truth)
    with pytest.raises(SettingsError, match="something else than 0 and 1"):
        score(parse_metric("users_own_metrics:not_binary"), outputs, truth)


def own(outputs):
    return outputs


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("median", {}, "can't be of kind 'median'"),
        ("set", {}, "is of kind 'set', which takes a functional"),
        ("mean", {"functional": np.sum}, "is of kind 'mean', which takes no functional"),
    ],
)
def test_a_kind_that_does_not_fit_names_the_function_and_its_line(kind, more, told):
    line = own.__code__.co_firstlineno
    place = rf"test_own:own \(.*test_own.py, line {line}\) {told}"
    with pytest.raises(SettingsError, match=place):
        metric(kind, **more)(own)


@metric("mean", title="Share seen", span=1.0)
def share_seen(outputs, class_name):
    """How often a class is named."""
    return (outputs == class_name).astype(float)


@metric("mean", title="Share shown", span=1.0)
def share_shown(outputs, k, class_name=None):
    """How often a class, or any, is among the first."""
    return (outputs[:, :k] == (class_name or outputs[:, :k])).mean(axis=1)


def test_a_metric_of_one_class_is_named_with_it_in_brackets():
    path = f"{__name__}:share_seen"
    found = parse_metric(f"{path}[zebra crossing]")
    assert (found.family, found.class_name) == (path, "zebra crossing")
    assert found.title == "Share seen of zebra crossing"
    assert parse_metric(found.name) == found
    seen = score(found, np.array(["person", "zebra crossing"], object), None)
    assert seen.values.tolist() == [0, 1]
    with pytest.raises(SettingsError, match="needs the name of a class") as error:
        parse_metric(path)
    assert error.value.problems[0].next_step == f'Write "{path}[…]" with the class.'


def test_a_metric_of_one_class_may_be_cut_and_may_be_known_without_a_class():
    path = f"{__name__}:share_shown"
    outputs = np.array([["a", "b"], ["b", "b"]], object)
    shares = [score(parse_metric(f"{path}{of}@2"), outputs, None).value() for of in ("", "[b]")]
    assert shares == [1.0, 0.75]
    assert parse_metric(f"{path}[b]@2").name == f"{path}[b]@2"


def test_a_class_is_refused_where_there_is_no_metric_of_one():
    with pytest.raises(SettingsError, match="nll isn't made class by class") as error:
        parse_metric("nll[cat]")
    assert error.value.problems[0].next_step == "Write nll."


def test_a_set_metric_without_sums_takes_no_functional_and_one_of_sums_needs_one():
    def statistics(outputs):
        return outputs

    with pytest.raises(SettingsError, match="'set', which takes a functional"):
        metric("set")(statistics)
    with pytest.raises(SettingsError, match="takes no functional where it is no function of sums"):
        metric("set", sums=False, functional=np.sum)(statistics)
