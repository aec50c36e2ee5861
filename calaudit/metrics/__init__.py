"""Metrics: what engines' answers are worth, unit by unit. Arrays in, arrays out."""
