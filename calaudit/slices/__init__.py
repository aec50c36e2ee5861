"""Slices: named sets of samples, chosen by metadata; they may overlap.

A `Dimension` declares one way to slice, `evaluate_slices` turns declarations into a `SliceSet`,
`select_rows` evaluates a lone predicate, `match_slices` finds slices by name or pattern,
`describe_slices` puts each in numbers.
"""
