"""What starts from a finished audit: `export` hands an engine over, `difference` compares reports.

`finished` finds the report and its files and chooses a cell; `parts` writes an export's files, and
`readme` the lines that use them; `paired` scores two audits' predictions again, unit by unit.
"""
