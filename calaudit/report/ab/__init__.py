"""An A/B replay for people: `sentences` and `rows` in words, on a `terminal` and as a `page`.

`files` are ab.json and ab.html.
"""
