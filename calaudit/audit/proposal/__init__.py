"""An audit file for a model and a pool that nobody has described yet: guessed, with its reasons."""
