"""The chart library that report.html carries: Vega and Vega-Lite, from vl-convert."""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

from calaudit.formats.writing import write_text
from calaudit.runtime.errors import OutputError

PACKAGE = "vl-convert-python"
_DIGEST_LENGTH = 32
_EXPORTS = "window.vegaEmbed = vegaEmbed;"


def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that loads nothing and fits into an element.

    Putting it together takes vl-convert seconds, so it is kept in the user's cache folder under
    its release and its own hash; a file that doesn't match its hash is made anew.
    """
    folder = user_cache_path("calaudit", appauthor=False)
    release = version(PACKAGE)
    for path in sorted(folder.glob(f"charts-{release}-*.js")):
        script = _read(path)
        if script is not None and path.name == _name(release, script):
            return script
    script = _bundle()
    try:
        write_text(folder / _name(release, script), script)
    except OutputError:
        # a cache that can't be kept costs time and nothing else
        return script
    return script


def _bundle() -> str:
    import vl_convert

    script: str = vl_convert.javascript_bundle(_EXPORTS)
    # neither may occur within a script element; in JavaScript both are parts of texts
    return re.sub(r"<(/script|!--)", r"\\x3c\1", script, flags=re.IGNORECASE)


def _name(release: str, script: str) -> str:
    digest = hashlib.blake2b(script.encode(), digest_size=_DIGEST_LENGTH // 2).hexdigest()
    return f"charts-{release}-{digest}.js"


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError):
        return None
