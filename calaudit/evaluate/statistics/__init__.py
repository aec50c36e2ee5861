"""Intervals and tests for paired comparisons. Everywhere, a positive drop is quality lost."""
