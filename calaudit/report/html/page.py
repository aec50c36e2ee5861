"""report.html: one file that loads nothing, readable in light and dark, on screen and on paper.

It carries its chart library, Vega and Vega-Lite from vl-convert. A notebook shows a piece of it.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup
from platformdirs import user_cache_path

from calaudit.formats.writing import write_text
from calaudit.report.bench.layers import LAYERS
from calaudit.report.bench.numbers import NUMBERS
from calaudit.report.bench.sentence import slower_sentences
from calaudit.report.files import dump
from calaudit.report.findings import findings
from calaudit.report.foreign import foreign_sentences
from calaudit.report.forms import Evidence, Form
from calaudit.report.handover import cache_hint
from calaudit.report.harm import tells_weak_ranks
from calaudit.report.headline import control_sentences
from calaudit.report.html.bench import bench_document, make_bench
from calaudit.report.html.causes import Causes, make_causes
from calaudit.report.html.depicted import make_figures
from calaudit.report.html.environment import environment
from calaudit.report.html.found import (
    all_findings,
    first_findings,
    make_recommended,
    set_rows,
)
from calaudit.report.html.parts import (
    AttributionPart,
    make_attribution,
    make_rankings,
    rankings_document,
)
from calaudit.report.html.pictures import Picture, drawn_samples, make_samples
from calaudit.report.html.sets import make_holdings, make_recipes, sets_document
from calaudit.report.html.taps import Taps, make_taps, taps_document
from calaudit.report.html.view import make_view, view_document
from calaudit.report.index import Index
from calaudit.report.precision import (
    SHORT_LEGEND,
    overall_verdict_text,
    standings,
)
from calaudit.report.remarks import remarks
from calaudit.report.shipping import shipping_sentence
from calaudit.report.tables import source_heading
from calaudit.report.targets import HEADINGS, TEXTS, target_rows
from calaudit.results.comparison import ALL
from calaudit.results.document import to_document
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice, OutputError
from calaudit.runtime.words import counted, counted_units, visible

FEW, FEW_REASONS = 3, 2
"""Warnings, and sentences on causes, that the first screen shows."""
FEW_SAMPLES = 4
"""Samples of a group that are shown so: one row, and half of one where rankings stand beside."""
SCRIPTS = ("page", "heat", "drops", "bench", "causes", "sets", "taps", "rankings", "main")

PACKAGE = "vl-convert-python"
_DIGEST_LENGTH = 32
_EXPORTS = "window.vegaEmbed = vegaEmbed;"

SHOWN_SLICES = 30
"""Rows of the heat map; the rest is counted."""


def html_page(
    report: Report,
    *,
    taps: Taps | None = None,
    pictures: Mapping[str, Picture] | None = None,
    folder: Path | None = None,
    text: str | None = None,
) -> str:
    """The report as one HTML file.

    Every name is escaped by the templates or set as text by the scripts. The page's own policy
    forbids requests, and any script or style but its own, which it names by their hashes.

    Parameters
    ----------
    report : Report
    taps : Taps, optional
        Ranges; without them their part says that they weren't at hand.
    pictures : mapping of str to Picture, optional
        Sample id → picture, of the samples that change under most engines.
    folder : Path, optional
        Where the pictures that the report names lie.
    text : str, optional
        What report.json holds, where it has been made.
    """
    index = Index(report)
    view, rankings, bench = make_view(index), make_rankings(index), make_bench(index)
    attribution, causes = make_attribution(index), make_causes(index)
    seen = {
        "samples": make_samples(index, pictures or {}), "figures": make_figures(index, folder)
    }  # fmt: skip
    first, every = first_findings(index, view), all_findings(index, view)
    document = view_document(view) | sets_document(report)
    drawn = {
        "taps": None if taps is None else taps_document(taps),
        "rankings": None if rankings is None else rankings_document(rankings),
        "curves": None if causes is None else causes.curves,
        "bench": None if bench is None else bench_document(bench),
    }
    document |= {name: each for name, each in drawn.items() if each is not None}
    page = environment().get_template("report.html")
    return page.render(
        report=report,
        verdict=overall_verdict_text(index),
        standings=list(standings(index)),
        cache_hint=cache_hint(index, report.cells),
        targets=list(target_rows(index)),
        **_legends(index),
        **_own_code(),
        facts=_facts(index),
        parts=_parts(
            bench=bench,
            causes=causes,
            attribution=attribution,
            rankings=rankings,
            samples=any(seen.values()),
        ),
        bench=bench,
        causes=causes,
        recommended=make_recommended(index),
        findings=findings(report),
        controls=[*control_sentences(index), *foreign_sentences(index)],
        shipping=shipping_sentence(index),
        slower=" ".join(slower_sentences(index)),
        why=_why(causes, attribution),
        first=first.shown,
        first_left=first.left,
        sets=set_rows(index),
        several_metrics=len({r.metric for r in index.report.results if r.gate is not None}) > 1,
        warnings=_warnings(index),
        shown_warnings=FEW,
        few_samples=FEW_SAMPLES if rankings is None else FEW_SAMPLES // 2,
        view=view,
        method_names=list(dict.fromkeys(cell.method for cell in view.cells)),
        worst=every.shown,
        worst_left=every.left,
        **_sets(report),
        taps=taps,
        taps_missing="The ranges file wasn't available when this page was written.",
        rankings=rankings,
        attribution=attribution,
        **seen,
        **_whole(report, text),
        view_packed=_packed(json.dumps(document, separators=(",", ":"), allow_nan=False)),
    )


def _sets(report: Report) -> dict[str, Any]:
    """The calibration sets: how they were drawn, what they hold."""
    return {
        "recipes": make_recipes(report),
        "drawn_often": any((each.draw or 1) > 1 for each in report.calibsets),
        "holdings": make_holdings(report),
    }


def _whole(report: Report, text: str | None) -> dict[str, str]:
    """The audit file, and the report to the byte, as a download."""
    return {
        "config": dump(report.audit.config),
        "download": f"{_file_name(report.audit.name)}-report.json",
        "document_packed": _packed(dump(to_document(report)) if text is None else text),
    }


def _own_code() -> dict[str, str]:
    """Style and scripts, and the policy that allows these alone."""
    style, script, library = _text("style.css"), _script(), chart_library()
    return {
        "policy": _policy(style, [script, library]),
        "style": Markup(style),
        "script": Markup(script),
        "library": Markup(library),
    }


def _script() -> str:
    parts = "\n".join(_text(f"js/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


@cache
def _text(name: str) -> str:
    return files("calaudit.report.html").joinpath("templates", *name.split("/")).read_text("utf-8")


def _policy(style: str, scripts: Sequence[str]) -> str:
    def allowed(text: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

    return (
        f"default-src 'none'; script-src {' '.join(map(allowed, scripts))}; "
        f"style-src {allowed(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _packed(text: str) -> str:
    """Gzip and base64, the same for the same text."""
    packed = gzip.compress(text.encode(), compresslevel=6, mtime=0)  # 9: 4 times as long for 6 %
    return base64.b64encode(packed).decode("ascii")


class Section(NamedTuple):
    """A section of the page."""

    id: str
    title: str


def _parts(**optional: object) -> list[Section]:
    """All parts, without those of `optional` that are empty."""
    parts = {
        "found": "Ship what, who is hurt, why",
        "map": "Slices × engines",
        "bench": "Gains",
        "causes": "Causes",
        "drops": "Intervals",
        "attribution": "Attribution",
        "sets": "Calibration sets",
        "tensors": "Ranges",
        "rankings": "Rankings",
        "samples": "Samples",
        "provenance": "Provenance",
    }
    parts = {name: title for name, title in parts.items() if optional.get(name, True)}
    return [Section(name, title) for name, title in parts.items()]


def _legends(index: Index) -> dict[str, Any]:
    """Headings, and what marks, headings and verdicts mean."""
    return {
        "target_headings": HEADINGS,
        "target_texts": len(TEXTS),
        "number_headings": NUMBERS,
        "layer_headings": LAYERS,
        "short_legend": SHORT_LEGEND,
        "source": source_heading(index),
        "remarks": "; ".join(remarks(index.report.results)),
    }


def _facts(index: Index) -> list[str]:
    report = index.report
    everything = index.slices.get(ALL)
    facts = [f"model {visible(report.audit.model.name)}", f"pool {visible(report.audit.pool.name)}"]
    if everything is not None:
        facts.append(f"{counted_units(everything.n, visible(everything.unit))} evaluated")
    facts.append(f"{index.judged} compared with FP32")
    facts.append(counted(len(report.slices), "slice"))
    facts.append(visible(report.created.replace("T", " ").replace("+00:00", " UTC")))
    return facts


def _why(causes: Causes | None, attribution: AttributionPart | None) -> list[tuple[str, bool]]:
    """What the first screen says of causes, each with whether it is of a control.

    What experiments found, then the attribution; both of candidates before those of controls.
    """
    told = [] if causes is None else [(each.sentence, each.control) for each in causes.explained]
    if attribution is not None:
        told += attribution.sentences
    told.sort(key=lambda each: each[1])
    if attribution is not None:
        told += [(sentence, False) for sentence in attribution.standouts]
    return told[:FEW_REASONS]


def _warnings(index: Index) -> list[Notice]:
    """The report's, but for what the part on causes says in its own words."""
    told = {"harm_weak"} if tells_weak_ranks(index) else set()
    return [notice for notice in index.report.warnings if notice.code not in told]


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:60] or "audit"


def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that loads nothing and fits into an element.

    Putting it together takes vl-convert seconds, so it is kept in the user's cache folder under
    its release and its own hash; a file that doesn't match its hash is made anew.
    """
    folder = user_cache_path("calaudit", appauthor=False)
    release = version(PACKAGE)
    for path in sorted(folder.glob(f"charts-{release}-*.js")):
        script = _read(path)
        if script is not None and path.name == _name(release, script):
            return script
    script = _bundle()
    try:
        write_text(folder / _name(release, script), script)
    except OutputError:
        # a cache that can't be kept costs time and nothing else
        return script
    return script


def _bundle() -> str:
    import vl_convert

    script: str = vl_convert.javascript_bundle(_EXPORTS)
    # neither may occur within a script element; in JavaScript both are parts of texts
    return re.sub(r"<(/script|!--)", r"\\x3c\1", script, flags=re.IGNORECASE)


def _name(release: str, script: str) -> str:
    digest = hashlib.blake2b(script.encode(), digest_size=_DIGEST_LENGTH // 2).hexdigest()
    return f"charts-{release}-{digest}.js"


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError):
        return None


def notebook_html(report: Report) -> str:
    """A piece of HTML without scripts, in the notebook's own colours."""
    index = Index(report)
    view = make_view(index)
    return (
        environment()
        .get_template("notebook.html")
        .render(
            report=report,
            verdict=overall_verdict_text(index),
            findings=findings(report),
            view=view,
            shown=view.slices[:SHOWN_SLICES],
            left=max(0, len(view.slices) - SHOWN_SLICES),
        )
    )


def _write(report: Report, evidence: Evidence, path: Path) -> None:
    observation, folder = evidence.observation, evidence.pictures
    page = html_page(
        report,
        taps=None if observation is None else make_taps(report, observation),
        pictures=drawn_samples(report, folder=folder, pool=evidence.pool),
        folder=folder,
        text=evidence.text,
    )
    path.write_text(page, encoding="utf-8")


HTML = Form("report.html", _write, uses_evidence=True)
