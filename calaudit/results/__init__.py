"""The dataclasses of a report: what statistics and audits return, and what report.json holds.

`comparison` is one engine against FP32 on one slice, `drops` where drops come from and where they
are largest, `rankings` and `agreement` what became of rankings and of engines on two backends,
`audited` what was asked and of what. `report` is all of it, its verdict and exit status;
`document` and `schema` are its JSON, `consistency` what no schema can check.
"""
