"""The report as a notebook shows it: verdict, three sentences, the heat map."""

from calaudit.report.findings import findings
from calaudit.report.html import environment
from calaudit.report.html_view import make_view
from calaudit.report.index import Index
from calaudit.results.report import Report

SHOWN_SLICES = 30
"""Rows of the heat map; the rest is counted."""


def notebook_html(report: Report) -> str:
    """A piece of HTML without scripts, in the notebook's own colours."""
    view = make_view(Index(report))
    return (
        environment()
        .get_template("notebook.html")
        .render(
            report=report,
            findings=findings(report),
            view=view,
            shown=view.slices[:SHOWN_SLICES],
            left=max(0, len(view.slices) - SHOWN_SLICES),
        )
    )
