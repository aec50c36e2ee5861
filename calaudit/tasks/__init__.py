"""Kinds of task: what a model's output is for, and how it is judged against the pool."""
