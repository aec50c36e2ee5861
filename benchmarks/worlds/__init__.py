"""Simulated worlds with known drops: how units, and what an engine does to them, come about."""
