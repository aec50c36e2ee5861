"""Backends: what makes engines of models. The only folder that imports libraries that run them."""
