"""What people and machines read of an audit: report.json, the terminal's tables, the page.

`files` is report.json on disk; `index` finds a report's results, `wording`, `headline` and
`findings` put them into words, `tables`, `comparison_tables` and `detail_tables` into tables for
`terminal`. Each form of the report is one module or folder. What a report holds is in
`calaudit.results`.
"""
