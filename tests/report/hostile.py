"""A report full of names that try to be read as something else."""

from dataclasses import replace

from calaudit.results.audited import NodeRecord, SliceRecord
from calaudit.results.report import Report
from calaudit.runtime.errors import Notice
from tests.report.factory import AUDIT, ENGINE, TOP1, cell, report, result

NAMES = (
    "all",
    "<script>alert(1)</script>",
    "</script><script>document.title='owned'</script>",
    "\"quoted\" 'single' `ticks` \\ back",
    "'\"><img src=x onerror=alert(1)>",
    "👩‍🔬 emoji 🎧 ≥ é",
    "n" * 300,
    "a|b *c* _d_ [e](javascript:alert(1)) @someone #1 https://example.org",
    "line\nbreak\ttab\x1b[31m\u202e\x00 nul",
    "{{ 7 * 7 }} {% raw %} ${x} &amp; &lt;",
    "]]><!-- -->",
    "\udce9 not UTF-8 \uffff",
)
SET = "<b>set</b> \"x\" 'y' & |"
METHOD = "min<max>"


def hostile_report() -> Report:
    """Hostile slices, set, method, metric, files, nodes, reasons, warnings and configuration."""
    short = tuple(NodeRecord(name, "<op>", "int8", "<i>fp32", name, 10) for name in NAMES)
    told = replace(
        ENGINE, proof=NAMES[1], asked_ops={"<op>": len(NAMES) + 2}, not_as_asked=short,
        left_float=short, macs=1000, int8_macs=880,
    )  # fmt: skip
    engine = cell(SET, METHOD, id=f"{SET}/{METHOD}", engine=told)
    verdicts = ("PASS", "REGRESSED", "INCONCLUSIVE")
    results = [
        result(engine.id, name, 0.01 * number, verdicts[number % 3], n_needed=9000)
        for number, name in enumerate(NAMES)
    ]
    made = report(
        results,
        metrics=(replace(TOP1, title='<i>top</i>-1 & "co"'),),
        cells=(engine, cell("broken", status="failed", engine=None, reason="<u>no</u>\x00")),
        slices=tuple(SliceRecord(name, 1000, True) for name in NAMES),
        warnings=(Notice("<code>", "</title><script>1</script>", "where <b>"),),
    )
    audit = replace(
        AUDIT,
        name="<title>&\"'",
        model=replace(AUDIT.model, name="../<model>.onnx"),
        pool=replace(AUDIT.pool, name="\udce9<pool>.h5"),
        config={"<key>": "</script>", "nested": [{"a": "'\"`"}]},
    )
    return replace(made, audit=audit)
