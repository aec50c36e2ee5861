"""Ranges: the distribution of every tap, and the scales made from it. Arrays only."""
