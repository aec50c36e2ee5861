"""Recipe → draw: which samples of a pool make a calibration set, and with which weights.

Arrays in, arrays out. A recipe (`recipe`; one module per kind: `uniform`, `stratified`, `skewed`,
`coverage`, `ids`) says how to choose; `draw` chooses among candidates and returns rows, weights,
what each stratum was asked for and gave, and notices about every shortage. The same recipe,
candidates and seed give the same rows on every machine.
"""
