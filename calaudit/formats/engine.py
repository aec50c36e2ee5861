"""Serialized engines on disk: the plan as TensorRT writes it, and what it is bound to beside it.

``x.engine`` is TensorRT's own file, which other tools load too; ``x.engine.json`` says which
library and GPU it is for, what it was made from, and the hash that it must have.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from calaudit.formats.writing import atomic_write, write_text
from calaudit.results.values import adapter_of
from calaudit.runtime.errors import FileFormatError

FORMAT = "engine"
# 1: hash and the fields of EngineFacts
FORMAT_VERSION = 1
_STEP = "Delete the engine and its .json file; they are built again."


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine is bound to, what it was made from, and what its layers run in."""

    library: str
    """``"tensorrt"`` or ``"tensorrt_rtx"``."""
    version: str
    gpu: str | None
    """Name of the GPU it was built on; None when it was built for one that wasn't there."""
    compute_capability: str | None
    model: str
    """Fingerprint of the graph."""
    scales: str | None = None
    """Fingerprint of the scale table behind an INT8 engine."""
    precision: str = "fp32"
    max_batch: int = 1
    tf32: str = "off"
    knobs: Mapping[str, str | int | bool] = field(default_factory=dict)
    """What the compiler was told besides, where it isn't the default."""
    network: str = "strongly typed"
    """Or ``"weakly typed"``: TensorRT then chooses among the types that were permitted."""
    proof: str | None = None
    """Who said what the layers run in."""
    nodes: tuple[Mapping[str, str | int | None], ...] = ()
    """Per product: node, op_type, asked, got, reason, macs."""
    notices: tuple[Mapping[str, str | None], ...] = field(default=())
    """Warnings of the build."""


def facts_path(path: Path) -> Path:
    """Where the facts of the engine at `path` lie."""
    return path.with_name(f"{path.name}.json")


def write_engine_file(path: Path, plan: bytes, facts: EngineFacts) -> None:
    """Write an engine and its facts; the facts last, so that they vouch for a whole file.

    Raises
    ------
    OutputError
        They can't be written.
    """
    facts_path(path).unlink(missing_ok=True)
    with atomic_write(path) as aside:
        aside.write_bytes(plan)
    content = {
        "calaudit_format": FORMAT,
        "format_version": FORMAT_VERSION,
        "hash": plan_hash(plan),
        **asdict(facts),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_text(facts_path(path), text, check=_facts)


def open_engine_file(path: Path) -> tuple[bytes, EngineFacts]:
    """Read an engine and its facts.

    Raises
    ------
    FileFormatError
        A file is missing, the facts are foreign or of a newer version, or the engine isn't the
        one they were written for.
    """
    facts, expected = _facts(facts_path(path))
    try:
        plan = path.read_bytes()
    except OSError as error:
        raise FileFormatError(
            f"can't be read: {error.strerror}", where=path, next_step=_STEP
        ) from None
    found = plan_hash(plan)
    if found != expected:
        raise FileFormatError(
            f"checksum mismatch ({len(plan)} bytes of hash {found}, not {expected})",
            where=path,
            next_step=_STEP,
        )
    return plan, facts


def plan_hash(plan: bytes) -> str:
    """blake2b-128 of a serialized engine, in hex."""
    return hashlib.blake2b(plan, digest_size=16).hexdigest()


def _facts(path: Path) -> tuple[EngineFacts, str]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        head = {key: content.pop(key, None) for key in ("calaudit_format", "format_version")}
        expected = content.pop("hash")
        if head != {"calaudit_format": FORMAT, "format_version": FORMAT_VERSION}:
            raise FileFormatError(
                f"isn't the description of an engine of version {FORMAT_VERSION}: {head}",
                where=path,
                next_step=_STEP,
            )
        return adapter_of(EngineFacts).validate_python(content), str(expected)
    except OSError as error:
        reason = f"can't be read: {error.strerror}"
    except (ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"isn't the description of an engine: {' '.join(str(error).split())}"
    raise FileFormatError(reason, where=path, next_step=_STEP)
