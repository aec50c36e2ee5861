"""A FAKE; see the folder above."""
