"""What a bench found, in words, rows and points: what engines gain, beside what they lose.

`measured` finds numbers by engine, `losses` and `loss_words` tell of the worst slice, `gains` says
who dominates whom, `sentence` is the headline, `remarks` what goes with it; `rows`, `numbers` and
`layers` make the tables, `wording` tells numbers as people read them. `tables` is the terminal's
form, `exposed` Prometheus', `handed` an export's, and `change` sets two benches side by side.
"""
