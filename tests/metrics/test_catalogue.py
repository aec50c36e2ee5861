import pytest

from calaudit.metrics.catalogue import convention_of, known_metrics, parse_metric
from calaudit.runtime.errors import SettingsError


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
    ("names", "meant"),
    [
        ("accuracy|Accuracy|acc|acc@1|top-1|top 1|Top-1 accuracy|error rate|val_acc", "top1"),
        ("acc@5|top-5|Top5 Acc.", "top5"),
        ("f1|F1-score|f_measure", "macro_f1"),
        ("bal_acc|UAR|macro recall", "balanced_accuracy"),
        ("loss|CrossEntropyLoss|log_loss|val_loss|NLL", "nll"),
        ("L1|l1_loss|mean absolute error", "mae"),
        ("l2|MSELoss|mean_squared_error", "mse"),
        ("RMS|Root Mean Squared Error", "rmse"),
        ("r2_score|R²|r-squared", "r2"),
        ("WER|WER %|word_error_rate|wer (%)", "wer"),
        ("CER|character error rate", "cer"),
        ("hit rate@5|HR@5|hits@5|Recall@5", "recall@5"),
        ("NDCG@20|dcg@20", "ndcg@20"),
        ("hit rate", "object_recall or recall@10"),
        ("mAP|average precision", "ap or map@10"),
        ("mAP@10", "map@10"),
        ("mAP50-95|mAP@0.5:0.95|AP %", "ap"),
        ("mAP50|mAP@0.5|AP 50", "ap50"),
        ("mAP75|AP@.75|val_map75", "ap75"),
        ("mAP@50", "ap50 or map@50"),
        ("average recall", "ar@10"),
        ("precision@10", "recall@10 or map@10"),
        ("agreement", "top1_agreement"),
        ("cosine similarity", "cosine"),
        ("mIoU|Mean intersection over union|jaccard index", "mean_iou"),
        ("IoU[Car]|class IoU[Car]", "iou[Car]"),
        ("iou |IoU", "iou[…]"),
    ],
)
def test_what_people_call_a_metric_is_understood_before_what_it_looks_like(names, meant):
    for name in names.split("|"):
        with pytest.raises(SettingsError, match="no metric") as error:
            parse_metric(name)
        assert error.value.problems[0].next_step == f"Did you mean {meant}?", name


@pytest.mark.parametrize("name", ["brier", "auc", "bleu", "foo"])
def test_a_metric_that_is_not_there_is_not_mistaken_for_one_that_looks_a_little_like_it(name):
    with pytest.raises(SettingsError, match="no metric") as error:
        parse_metric(name)
    told = error.value.problems[0].next_step
    assert "Did you mean" not in told
    assert "docs/metrics.md" in told


def test_no_name_stands_for_two_metrics_by_accident():
    known = [name.replace("topk", "top5").replace("@k", "@10") for name in known_metrics()]
    for name in known:
        with pytest.raises(SettingsError) as error:
            parse_metric(name.upper() + " %")
        assert error.value.problems[0].next_step == f"Did you mean {name}?"


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
