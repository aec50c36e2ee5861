"""What a bench found, in words, rows and points: what engines gain, beside what they lose.

`measured` finds numbers by engine, `losses` the worst slice, `gains` says who dominates whom,
`rows` and `numbers` make the tables, `sentence` the headline, `remarks` what goes with it,
`wording` numbers as people read them; `tables` is the terminal's form, `exposed` Prometheus', and
`change` sets two benches side by side.
"""
