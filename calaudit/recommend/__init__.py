"""What to ship: ranges, sets, products in float; chosen on tuning rows, proven on evaluated ones.

`predicting` says what ranges do to the slices that count, `options` which ranges there are to
choose from, `mixtures` which shares of slices a set should have; `trials` runs them on tuning rows.
`choosing` goes from the cheapest remedy on, `written` makes the audit file that judges what was
chosen, `proof` reads its answers, `sentences` says it all; `run` is the whole way.
"""
