"""The dataclasses of a report: what statistics and audits return, and what report.json holds.

`comparison` is one engine against FP32 on one slice, `drops` where drops come from and where they
are largest, `harm` what ranges are predicted to do, `explanation` what experiments found,
`rankings` what became of rankings, `recommendation` what to ship, `bench` what engines cost,
`audited` what was asked and of what. `report` is all of it, its verdict and exit status; `document`
is its JSON, its versions and what no schema can check; `ab` is what an A/B replay found,
`ab_document` its JSON; `schema` checks the rest; `values` are the types of numbers, and the one
step from a value to a record.
"""
