"""What is handed over: the files of one engine, and the lines that use them.

`run` chooses the cell and writes the folder, whole or not at all; `parts` writes its files, and
`readme` the text of its README from `templates/`.
"""
