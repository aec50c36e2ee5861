"""A summary in Markdown, for pull requests and job summaries."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import punctuation

from calaudit.report.bench.gains import RULE
from calaudit.report.bench.measured import bench_of
from calaudit.report.bench.remarks import bench_legend, bench_remarks
from calaudit.report.bench.rows import PARETO, bench_entries, bench_headings, bench_rows
from calaudit.report.bench.rows import TITLE as TITLE_OF_BENCH
from calaudit.report.bench.sentence import bench_sentences
from calaudit.report.explanations import TITLE, explanation_lines, told
from calaudit.report.findings import attribution_sentences, findings, harmed_slices
from calaudit.report.foreign import foreign_sentences
from calaudit.report.forms import Evidence, Form
from calaudit.report.groups import FoldedResult, engine_groups, folded
from calaudit.report.handover import cache_hint, named_files
from calaudit.report.harm import HEADINGS as HEADINGS_OF_HARM
from calaudit.report.harm import LEGEND as LEGEND_OF_HARM
from calaudit.report.harm import harm_rows, harm_sentences
from calaudit.report.headline import control_sentences
from calaudit.report.index import Index, cell_parts
from calaudit.report.pictured import picture_sentences
from calaudit.report.precision import NAMED, overall_verdict_text, standings
from calaudit.report.recommendation import TITLE as RECOMMENDATION
from calaudit.report.recommendation import (
    columns_of,
    legend_of,
    option_rows,
    recommendation_lines,
)
from calaudit.report.remarks import remarks, star
from calaudit.report.shipping import shipping_sentence
from calaudit.report.tables import MARK, legend, source_heading, verdict_mark
from calaudit.report.targets import HEADINGS, TEXTS, target_rows
from calaudit.report.wording import MISSING, between, difference, score, unit_name, units
from calaudit.results.audited import MetricRecord
from calaudit.results.comparison import Result
from calaudit.results.report import Report, unjudged
from calaudit.runtime.words import visible

BADGE = {"PASS": "✅ PASS", "REGRESSED": "❌ REGRESSED", "INCONCLUSIVE": "❔ INCONCLUSIVE"}
_HARM_TEXTS = frozenset({"slice", "best engine", "worst engine", "most at"})
LONGEST = 80
"""Characters of a name that are shown."""

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]|~$^])")
_BREAKS_CODE = re.compile(r"^ | $|[`|\\]")
_ACTIVE = re.compile(r"(?<!\w)@|#(?=\w)|:(?=//)|:(?=[\w+-]+:)|www(?=\.)", re.IGNORECASE)
"""What services make links, mentions or pictures of."""
_NOTHING = "\u200b"


def markdown_summary(report: Report, *, limit: int = 15) -> str:
    """Verdict, what may ship, three sentences, the worst comparisons, drops per slice.

    Tables have at most `limit` rows.

    Names come from data: they stand as code or escaped, so that none of them can add markup,
    mention anyone or link anywhere.
    """
    index = Index(report)
    verdict = overall_verdict_text(index).replace(report.verdict, BADGE[report.verdict], 1)
    lines = [f"## {verdict}: {_inline(report.audit.name)}", ""]
    if report.recommendation is None:
        lines += [f"**{_inline(shipping_sentence(index))}**", ""]
    lines += [f"- {_inline(sentence)}" for sentence in findings(report)]
    lines += [f"- {_inline(sentence)}" for sentence in control_sentences(index)]
    lines += [f"- {_inline(sentence)}" for sentence in foreign_sentences(index)]
    lines += [
        "",
        *_counts(index),
        *_recommendation(index, limit),
        *_targets(index),
        *_worst(index, limit),
        *_attribution(index, limit),
        *_explanations(index, limit),
        *_pictures(index),
    ]
    lines += [
        *_matrix(index, limit),
        *_bench(index, limit),
        *_harm(index, limit),
        *_precision(index, limit),
        *_files(index, limit),
    ]
    lines += [*_warnings(report, limit), _footer(index)]
    return "\n".join(lines) + "\n"


def _counts(index: Index) -> Iterator[str]:
    if not index.gated:
        reason = unjudged(index.report.results, index.report.cells)
        yield f"Nothing was evaluated: {_inline(reason or '')}."
        yield ""
        return
    verdicts: list[str] = [r.verdict or "INCONCLUSIVE" for r in index.gated]
    yield "| gated comparisons | regressed | inconclusive | passed |"
    yield "|---:|---:|---:|---:|"
    named = ("REGRESSED", "INCONCLUSIVE", "PASS")
    yield _row([f"{len(verdicts):,}", *(f"{verdicts.count(name):,}" for name in named)])
    yield ""


def _recommendation(index: Index, limit: int) -> Iterator[str]:
    told = index.report.recommendation
    if told is None:
        return
    yield f"### {RECOMMENDATION}"
    yield ""
    first, *others = recommendation_lines(index, told)
    yield f"**{_inline(first)}**"
    yield ""
    yield from (f"- {_inline(line)}" for line in others)
    rows = list(option_rows(index, told))
    columns = columns_of(rows[:limit])
    yield ""
    yield _row([heading for heading, _ in columns])
    yield f"|{'---|' * len(columns)}"
    for entries in zip(*(entries for _, entries in columns), strict=True):
        yield _row([_code(entries[0]), *map(_inline, entries[1:])])
    yield from _rest(len(rows) - limit, "engine")
    yield ""
    if legend := legend_of(told):
        yield _inline(legend)
        yield ""


def _targets(index: Index) -> Iterator[str]:
    rows = list(target_rows(index))
    if not rows:
        return
    yield _row(HEADINGS)
    yield f"|{'---|' * len(TEXTS)}{'---:|' * (len(HEADINGS) - len(TEXTS))}"
    for row in rows:
        texts = map(_inline, (row.runs_on, row.settings))
        yield _row([_code(row.name), *texts, *row.entries[len(TEXTS) :]])
    yield ""


def _worst(index: Index, limit: int) -> Iterator[str]:
    found = [row for row in folded(index, index.gated) if row.worst.verdict != "PASS"]
    if not found:
        return
    yield "### Worst slices first"
    yield ""
    source = source_heading(index)
    heads = ["slice", "n", "metric", source, "method", "engines", "FP32", "engine", "drop"]
    yield _row(["", *heads])
    yield "|---|---|---:|---|---|---|---:|---:|---:|---|"
    for row in found[:limit]:
        yield _row(_comparison(index, row))
    yield from _rest(len(found) - limit, "finding")
    yield ""


def _comparison(index: Index, row: FoldedResult) -> list[str]:
    """The worst engine's numbers, and how many of the group have its verdict."""
    result, metric = row.worst, index.metrics[row.metric]
    calibset, method = cell_parts(index.cells[result.cell], index.report)
    drop = f"**{difference(metric, result.drop)}** {_inline(unit_name(metric))}".rstrip()
    if result.low is not None:
        drop += f" ({between(metric, result.low, result.high)}){_inline(star(result))}"
    if len(row.results) > 1:
        calibset = row.group.label
    names = [_code(name) for name in (result.slice, result.metric, calibset, method)]
    scores = [score(metric, value) for value in (result.reference, result.candidate)]
    mark = MARK[result.verdict or "INCONCLUSIVE"]
    return [mark, names[0], units(result), *names[1:], row.engines(), *scores, drop]


def _attribution(index: Index, limit: int) -> Iterator[str]:
    sentences = attribution_sentences(index, harmed_slices(index, set(index.slices)))
    if not sentences:
        return
    yield "### Attribution"
    yield ""
    yield from (f"- {_inline(sentence)}" for sentence in sentences[: min(limit, 5)])
    yield from _rest(len(sentences) - min(limit, 5), "sentence")
    yield ""


def _explanations(index: Index, limit: int) -> Iterator[str]:
    found, rest = told(index.report)
    if not found:
        return
    yield f"### {TITLE}"
    yield ""
    for one in found[:limit]:
        first, *others = explanation_lines(index, one)
        yield f"- {_inline(first)}"
        yield from (f"  - {_inline(line)}" for line in others)
    yield from (f"- {_inline(line)}" for line in rest)
    yield from _rest(len(found) - limit, "explanation")
    yield ""


def _pictures(index: Index) -> Iterator[str]:
    sentences = list(picture_sentences(index))
    yield from (f"- {_inline(sentence)}" for sentence in sentences)
    if sentences:
        yield ""


def _matrix(index: Index, limit: int) -> Iterator[str]:
    """Slices × calibration sets, the worst method of each: of the metrics that lead."""
    sets = {group.label: [cell.id for cell in group.cells] for group in engine_groups(index)}
    for metric in index.leading if sets else ():
        yield from _matrix_of(index, metric, sets, limit)


def _matrix_of(
    index: Index, metric: MetricRecord, sets: Mapping[str, Sequence[str]], limit: int
) -> Iterator[str]:
    slices = index.worst_slices(metric, index.report.slices)
    if not slices:
        return
    unit = unit_name(metric)
    what = f"Drop of {visible(metric.title)}{f' in {unit}' if unit else ''}"
    how = "worst engine per calibration set, as measured"
    yield f"<details><summary>{escape(what)}, {how}</summary>"
    yield ""
    yield _row(["slice", "n", *map(_code, sets)])
    yield _row(["---", "---:", *["---:"] * len(sets)])
    for each in slices[:limit]:
        found = [
            [r for c in cells if (r := index.results.get((c, each.name, metric.name))) is not None]
            for cells in sets.values()
        ]
        n = f"{index.n_in(each, metric):,}"
        yield _row([_code(each.name), n, *(_drop(index, group) for group in found)])
    yield from _rest(len(slices) - limit, "slice")
    yield ""
    yield "</details>"
    yield ""


def _drop(index: Index, results: Sequence[Result]) -> str:
    measured = [r for r in results if r.drop is not None]
    if not measured:
        return MISSING
    worst = max(measured, key=lambda r: r.drop or 0.0)
    mark = verdict_mark(index, worst)
    return f"{difference(index.metrics[worst.metric], worst.drop)}{mark}"


def _harm(index: Index, limit: int) -> Iterator[str]:
    """Predicted harm of the best and worst engine, slice by slice."""
    rows = harm_rows(index, set(index.slices))
    if not rows:
        return
    yield "<details><summary>Predicted harm, by histograms of the tuning rows</summary>"
    yield ""
    yield _row(HEADINGS_OF_HARM)
    yield _row(["---" if heading in _HARM_TEXTS else "---:" for heading in HEADINGS_OF_HARM])
    for row in rows[:limit]:
        entries = zip(HEADINGS_OF_HARM, row.entries, strict=True)
        yield _row([_code(text) if heading in _HARM_TEXTS else text for heading, text in entries])
    yield from _rest(len(rows) - limit, "slice")
    yield ""
    yield f"{_inline(LEGEND_OF_HARM)}."
    yield ""
    yield from (f"- {_inline(sentence)}" for sentence in harm_sentences(index))
    yield ""
    yield "</details>"
    yield ""


def _bench(index: Index, limit: int) -> Iterator[str]:
    """What engines gain and lose: the sentence, and a table per target."""
    bench = bench_of(index)
    if bench is None:
        return
    yield f"### {TITLE_OF_BENCH}"
    yield ""
    yield from (f"- {_inline(sentence)}" for sentence in bench_sentences(bench))
    yield ""
    for each in bench_rows(bench):
        rows = each.shown()
        where = f", {each.target}" if len(bench.targets) > 1 else ""
        yield f"<details><summary>Every engine{escape(where)}</summary>"
        yield ""
        headings = bench_headings(bench, each)
        yield _row([_inline(heading) for heading in headings])
        yield f"|---|{'---:|' * (len(headings) - 3)}---|---|"
        for row in rows[:limit]:
            name, *entries = bench_entries(bench, each, row)
            yield _row([_code(name), *map(_inline, entries)])
        yield from _rest(len(rows) - limit, "engine")
        yield ""
        yield f"{_inline(bench_legend(bench))}. {PARETO} Pareto set. {_inline(RULE)}."
        yield ""
        yield from (f"- {_inline(line)}" for line in bench_remarks(bench))
        yield ""
        yield "</details>"
        yield ""


def _precision(index: Index, limit: int) -> Iterator[str]:
    """What runs in INT8 or FP16, once for engines of which the same is known."""
    found = list(standings(index))
    if not found:
        return
    yield "<details><summary>What the engines run in</summary>"
    yield ""
    for each in found[:limit]:
        yield f"- {_inline(each.told)}: {', '.join(map(_inline, each.engines(NAMED)))}"
        yield from (f"  - {_inline(line)}" for line in each.lines(NAMED))
    yield from _rest(len(found) - limit, "group of engines")
    yield ""
    yield "</details>"
    yield ""


def _files(index: Index, limit: int) -> Iterator[str]:
    kept = [cell for cell in index.report.cells if named_files(cell)]
    if not kept:
        return
    yield "<details><summary>Engine files, beside report.json</summary>"
    yield ""
    yield _row(["engine", "files"])
    yield "|---|---|"
    for cell in kept[:limit]:
        files = (f"{what} {_code(path, longest=255)}" for what, path in named_files(cell))
        yield _row([_code(cell.id), ", ".join(files)])
    yield from _rest(len(kept) - limit, "engine")
    hint = cache_hint(index, kept)
    yield from ("", f"{_inline(hint)}.") if hint else ()
    yield ""
    yield "</details>"
    yield ""


def _warnings(report: Report, limit: int) -> Iterator[str]:
    if not report.warnings:
        return
    number = len(report.warnings)
    yield f"<details><summary>{number} warning{'' if number == 1 else 's'}</summary>"
    yield ""
    for notice in report.warnings[:limit]:
        yield f"- {_inline(str(notice))}"
    yield from _rest(number - limit, "warning")
    yield ""
    yield "</details>"
    yield ""


def _rest(rest: int, what: str) -> Iterator[str]:
    if rest > 0:
        yield ""
        yield f"… and {rest:,} more {what}{'' if rest == 1 else 's'} in the report."


def _footer(index: Index) -> str:
    report = index.report
    audit = report.audit
    told = "".join(f"{_inline(each)}; " for each in remarks(index.gated))
    return (
        f"<sub>calaudit {_inline(report.calaudit_version)}, model {_inline(audit.model.name)} "
        f"{_code(audit.model.fingerprint[:12])}, pool {_inline(audit.pool.name)} "
        f"{_code(audit.pool.fingerprint[:12])}, seed {audit.seed}; {legend(index)}; {told}"
        "positive drops are losses</sub>"
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shortened(name: str, longest: int = LONGEST) -> str:
    shown = visible(name)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _code(name: str, longest: int = LONGEST) -> str:
    """A name as code: nothing in it is read as Markdown, and no cell of a table ends within it."""
    shown = _shortened(name, longest)
    if shown.strip() and not _BREAKS_CODE.search(shown):
        return f"`{shown}`"
    return f"<code>{''.join(_entity(c) if c in punctuation else c for c in shown)}</code>"


def _entity(character: str) -> str:
    return f"&#{ord(character)};"


def _inline(text: str) -> str:
    """Text in which nothing is read as Markdown or HTML, mentions anyone or links anywhere."""
    escaped = _PUNCTUATION.sub(r"\\\1", escape(visible(text), quote=False))
    return _ACTIVE.sub(lambda found: f"{found[0]}{_NOTHING}", escaped)


def _write(report: Report, evidence: Evidence, path: Path) -> None:
    path.write_text(markdown_summary(report), encoding="utf-8")


MARKDOWN = Form("summary.md", _write)
