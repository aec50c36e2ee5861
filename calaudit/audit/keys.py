"""Content keys: what an artefact depends on, hashed, so that it is valid while its key stays."""

import hashlib
import json
from pathlib import Path
from typing import Any


def content_key(value: Any) -> str:
    """Hash of a JSON-like value: 16 hexadecimal digits, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_key(path: Path) -> str:
    """Hash of a file's bytes: 16 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def slug(name: str) -> str:
    """A name as files can have it, 60 characters at most."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:60]
