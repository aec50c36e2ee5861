"""Detection: boxes of objects, decoded from a detector's outputs while engines run.

`task` has the keys of ``[[tasks]]`` and reads the pool; `decoders` make candidates of outputs in
their several layouts, `suppression` drops those that others overlap, and `detecting` does both,
batch by batch. `objects` makes true objects units of their own, `depicted` says what pictures show
of boxes.
"""
