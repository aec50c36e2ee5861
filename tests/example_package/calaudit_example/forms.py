"""A form of the report that calaudit doesn't have."""

import csv

from calaudit.report.forms import Form


def _write(report, evidence, path):
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(["cell", "slice", "metric", "n", "drop", "verdict"])
        rows.writerows([r.cell, r.slice, r.metric, r.n, r.drop, r.verdict] for r in report.results)


CSV = Form("results.csv", _write)
