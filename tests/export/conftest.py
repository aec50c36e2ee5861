"""Fixtures of other rooms' tests that these take."""

from tests.backends.tensorrt.conftest import rtx

__all__ = ["rtx"]
