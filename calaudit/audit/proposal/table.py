"""One table of an audit file, with the remark that stands above it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Keys and values as the audit file has them, and why they are proposed."""

    values: Mapping[str, Any]
    """Texts, numbers, lists and mappings of them."""
    remark: str = ""
    """Shown as a comment above; empty: none."""
