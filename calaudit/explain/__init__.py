"""What starts from a finished audit: why engines lose, files of one to ship, reports compared.

**Explanations**, found by experiments on the tuning rows: `run` adds them to an audit's report.
`harmed` says which results are explained, `explanations` goes through them, `laboratory` holds what
they share, `finding` runs one result's experiments and concludes, `sentences` says what was found.
Experiments: `suspects` orders taps by predicted harm, `sensitivity` weighs it, `transplants`
exchanges ranges, `ops` leaves single products in float, `search` finds what predictions miss, by
`halving`. They stand on `engines` (which graphs), `runs` (their answers), `tuning` (the rows and
their truth) and `judging` (paired intervals).

`exemptions` searches for the fewest products to leave in float, whatever judges its engines.

**Recommendations** stand in the package `recommend`: what to ship, chosen and proven.

**Export**: `export` hands an engine over as files; `difference` compares reports. `finished` finds
the report and its files and chooses a cell; `parts` writes an export's files, and `readme` the
lines that use them; `paired` scores two audits' predictions again, unit by unit.
"""
