"""What a bench found, in words, rows and points: what engines gain, beside what they lose.

`measured` finds numbers by engine, `losses` the worst slice, `gains` says who dominates whom,
`rows` makes the table, `sentence` the headline, `wording` numbers as people read them, `tables`
the terminal's form.
"""
