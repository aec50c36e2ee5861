"""Why engines lose: explanations, found by experiments on the tuning rows.

`run` adds them to an audit's report. `harmed` says which results are explained, `explanations` goes
through them, `laboratory` holds what they share, `finding` runs one result's experiments and
concludes, `sentences` says what was found. Experiments: `suspects` orders taps by predicted harm,
`sensitivity` weighs it, `transplants` exchanges ranges, `ops` leaves single products in float,
`search` finds what predictions miss, by `halving`. They stand on `engines` (which graphs), `runs`
(their answers), `tuning` (the rows and their truth) and `judging` (paired intervals).

`exemptions` searches for the fewest products to leave in float, whatever judges its engines.
"""
