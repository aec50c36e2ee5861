"""Benches: what the engines of a finished audit cost, beside what they lose.

`contestants` are the engines that are measured, `measuring` runs them by turns, `machine` says what
else the machine did, `records` puts the numbers together, `trtexec` reads what that timed, `run` is
the way from an audit file to a report with a bench.
"""
