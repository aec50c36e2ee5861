"""Samples that lost most, in words."""

from collections.abc import Iterator

from calaudit.report.index import Index
from calaudit.report.wording import difference, engine_name, in_sentence, quoted, score, unit_name
from calaudit.results.comparison import ALL
from calaudit.results.pictures import Picture, Pictures
from calaudit.runtime.words import counted, visible


def picture_sentences(index: Index) -> Iterator[str]:
    """For each metric the first sample, and how many more have pictures."""
    for found in index.report.pictures:
        if found.shown:
            yield _sentence(index, found)


def _sentence(index: Index, found: Pictures) -> str:
    one, metric = found.shown[0], index.metrics[found.metric]
    where = "overall" if one.slice == ALL else f"on {visible(one.slice)}"
    answers = answers_text(one)
    told = "; ".join(filter(None, (answers, lost_text(index, found, one))))
    drawn = sum(each.file is not None for each in found.shown)
    beside = f" ({counted(drawn, 'picture')} beside the report)" if drawn else ""
    return (
        f"By {in_sentence(metric)}, {quoted(one.id)} lost most {where} under "
        f"{engine_name(index, one.cell)}: {told}{beside}"
    )


def lost_text(index: Index, found: Pictures, one: Picture) -> str:
    """What the sample itself lost: ``"right under FP32, wrong here"``, ``"FP32 0.9, lost 0.8"``."""
    metric = index.metrics[found.metric]
    if one.lost is None:
        return "no finite answer"
    if found.by != found.metric:
        before = one.reference or 0.0
        return f"{visible(found.by)} {before:.3g} under FP32, {before - one.lost:.3g} here"
    if metric.kind == "binary":
        return "right under FP32, wrong here"
    told = f"{difference(metric, one.lost)} {unit_name(metric)}".rstrip()
    return f"FP32 {score(metric, one.reference)}, lost {told}"


def answers_text(one: Picture) -> str:
    """Of a classification what is true, what FP32 and the engine say; else empty."""
    labels = (one.truth.label, one.fp32.label, one.engine.label)
    if any(label is None for label in labels):
        return ""
    names = [visible(label or "") for label in labels]
    return f"true {names[0]}, FP32 {names[1]}, engine {names[2]}"
