"""Backends: FP32 and INT8 engines. The only folder that imports libraries that run models."""

from calaudit.backends.base import Backend, Capabilities, Engine

__all__ = ["Backend", "Capabilities", "Engine"]
