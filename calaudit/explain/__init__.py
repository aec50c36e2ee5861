"""What starts from a finished audit: `export` hands an engine over as files.

`finished` finds the report and its files and chooses a cell, `parts` writes the files, and
`readme` the lines that use them.
"""
