"""What people and machines read of an audit: report.json, the terminal's tables, the page.

`files` is report.json on disk, `index`, `wording`, `headline`, `tables` and `terminal` what people
read. Each further form of the report is one more module beside these. What a report holds is in
`calaudit.results`.
"""

from calaudit.report.files import read_report, write_report
from calaudit.report.headline import headline
from calaudit.report.tables import View
from calaudit.report.terminal import print_report, render_report, write_svg

__all__ = [
    "View",
    "headline",
    "print_report",
    "read_report",
    "render_report",
    "write_report",
    "write_svg",
]
