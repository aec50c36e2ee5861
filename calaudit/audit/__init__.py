"""Audits: the file that says what to compare, the plan, and the run that carries it out."""
