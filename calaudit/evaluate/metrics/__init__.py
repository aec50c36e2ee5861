"""The metrics: one function per family, from a `Case` to per-unit scores."""
