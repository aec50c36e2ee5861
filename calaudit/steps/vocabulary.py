"""A sequence model's vocabulary: given in the audit file, or in a file beside it."""

import json
from pathlib import Path
from typing import Any

from calaudit.evaluate.spelling import Spelling
from calaudit.runtime.errors import SettingsError
from calaudit.steps.tasks import Sequence


def spelling_of(task: Sequence, folder: Path, *, where: str) -> Spelling:
    """How the task's token numbers become text.

    Parameters
    ----------
    task : Sequence
    folder : Path
        What a vocabulary's path is relative to.
    where : str
        Place of the task, for messages.

    Raises
    ------
    SettingsError
        A vocabulary that can't be read, or a blank, end or silent token that isn't in it.
    """
    given = task.vocabulary
    tokens = given if isinstance(given, tuple) else _read(folder / given, where)
    if task.blank is not None and task.blank >= len(tokens):
        raise SettingsError(
            f"blank is token {task.blank}, the vocabulary has {len(tokens)}", where=f"{where}.blank"
        )
    known = set(tokens)
    for key, named in (("end", (task.end,)), ("silent", task.silent)):
        for token in named:
            if token is not None and token not in known:
                raise SettingsError(
                    f"the vocabulary has no token {token!r}",
                    where=f"{where}.{key}",
                    next_step="Write it as the vocabulary does.",
                )
    return Spelling(
        vocabulary=tokens,
        blank=task.blank,
        end=task.end,
        silent=frozenset(task.silent),
        space=task.space,
    )


def _read(path: Path, where: str) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"the vocabulary {path} can't be read: {error}",
            where=f"{where}.vocabulary",
            next_step="Give a file with one token per line, or a JSON list or mapping.",
        ) from None
    return _listed(content, path, where)


def _listed(content: Any, path: Path, where: str) -> tuple[str, ...]:
    """Tokens in the order of their numbers."""
    if isinstance(content, dict) and sorted(content.values()) == list(range(len(content))):
        return tuple(sorted(content, key=content.__getitem__))
    if isinstance(content, list) and content and all(isinstance(one, str) for one in content):
        return tuple(content)
    raise SettingsError(
        f"{path} doesn't give one token for each number from 0",
        where=f"{where}.vocabulary",
        next_step="Give a list of tokens, or a mapping of tokens to the numbers 0, 1, …",
    )
