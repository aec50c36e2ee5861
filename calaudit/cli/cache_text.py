"""What ``calaudit cache`` prints: caches, differences and findings as text and JSON."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calaudit.cli.output import text_columns
from calaudit.formats.trt_header import ENTROPY_2
from calaudit.runtime.words import command_line, counted, visible

if TYPE_CHECKING:
    from calaudit.calibration.diff import Clipping, ScaleDiff, TapDifference
    from calaudit.calibration.lint import Finding
    from calaudit.formats.trt_cache import TrtCache
    from calaudit.steps.verify_cache import Verification
    from calaudit.steps.write_cache import CompleteCache

_SHOWN_PER_KIND = 5


def as_json(content: dict[str, Any]) -> str:
    """JSON, with null for infinity and NaN."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def cache_content(cache: "TrtCache") -> dict[str, Any]:
    """A cache's header, scales and problems."""
    header = cache.header
    version = None if header is None else header.version
    return {
        "header": None if header is None else str(header),
        "tensorrt": None if version is None else str(version),
        "algorithm": None if header is None else header.algorithm,
        "scales": [
            {
                "tensor": entry.tensor,
                "scale": entry.scale,
                "amax": entry.amax,
                "bits": entry.hex,
            }
            for entry in cache.entries
        ],
        "problems": [asdict(problem) for problem in cache.problems],
    }


def scale_columns(cache: "TrtCache") -> str:
    """Every scale of a cache, with the amax it stands for."""
    rows = [["tensor", "scale", "amax", "bits"]]
    rows += [
        [entry.tensor, f"{entry.scale:.6g}", f"{entry.amax:.6g}", entry.hex]
        for entry in cache.entries
    ]
    return text_columns(rows)


def summary(cache: "TrtCache") -> str:
    """Version, algorithm and number of scales."""
    n = counted(len(cache.entries), "scale")
    if cache.header is None:
        return f"no header, {n}"
    version = cache.header.version or f"of unknown version {cache.header.number!r}"
    return f"TensorRT {version}, {visible(cache.header.algorithm)}, {n}"


def completeness(path: Path, made: "CompleteCache") -> str:
    """Header and number of scales, and how the network's tensors came to them."""
    kinds = Counter(each.kind for each in made.network.tensors)
    every = "the known tensors" if made.network.notices else "every tensor"
    parts = [f"{kinds['observed']:,} of the model"]
    if kinds["derived"]:
        parts.append(f"{kinds['derived']:,} that its parser adds")
    if kinds["constant"]:
        parts.append(counted(kinds["constant"], "constant"))
    head = f"{visible(path)}: {summary(made.cache)}"
    return f"{head}, {every} of TensorRT's network: {', '.join(parts)}"


def next_step(model: Path, path: Path, made: "CompleteCache") -> str:
    """How TensorRT is given a cache."""
    header = made.cache.header
    if header is not None and header.algorithm != ENTROPY_2:
        return (
            f"Next: a calibrator of {header.algorithm} that returns it from "
            "read_calibration_cache; for trtexec, which has an entropy calibrator, add "
            "--algorithm entropy"
        )
    return f"Next: {command_line('trtexec', f'--onnx={model}', '--int8', f'--calib={path}')}"


def differences(found: "ScaleDiff") -> str:
    """How many taps two files share, and which only one has."""
    text = f"{counted(len(found.shared), 'tap')} in both"
    text += f", {len(found.different):,} with different scales"
    for name, taps in (("A", found.only_first), ("B", found.only_second)):
        if taps:
            shown = ", ".join(map(visible, taps[:3])) + (", …" if len(taps) > 3 else "")
            text += f"\n{len(taps):,} only in {name}: {shown}"
    return text


def diff_columns(shared: "Sequence[TapDifference]", *, clips: bool) -> str:
    """One row per tap; with what each scale clips where ranges are known."""
    from calaudit.calibration.methods import N_STEPS

    rows = [["tap", "amax A", "amax B", "B / A"]]
    if clips:
        rows[0] += ["A clips", "energy", "B clips", "energy"]
    for each in shared:
        ratio = "–" if each.ratio is None else f"{each.ratio:.3g}"
        amaxes = [f"{scale * N_STEPS:.4g}" for scale in (each.first, each.second)]
        row = [each.tap, *amaxes, ratio]
        if clips:
            row += [*_clip_cells(each.first_clips), *_clip_cells(each.second_clips)]
        rows.append(row)
    return text_columns(rows)


def _clip_cells(clips: "Clipping | None") -> list[str]:
    if clips is None:
        return ["–", "–"]
    return [
        f"{share:.2%}" if share >= 5e-5 or share == 0 else "<0.01%"
        for share in (clips.values, clips.energy)
    ]


def verification_content(found: "Verification") -> dict[str, Any]:
    """Findings and notices."""
    return {
        "n_taps": found.n_taps,
        "findings": [asdict(finding) for finding in found.findings],
        "notices": [asdict(notice) for notice in found.notices],
    }


def verdict(cache: Path, model: Path | None, found: "Verification") -> str:
    """The line that says how much was found, in what."""
    n = len(found.findings)
    text = f"{cache}: {'clean' if n == 0 else counted(n, 'finding')}; {summary(found.cache)}"
    return (
        text
        if found.n_taps is None
        else f"{text}, for {counted(found.n_taps, 'tensor')} of {model}"
    )


def by_kind(findings: "Sequence[Finding]", *, everything: bool) -> Iterator[str]:
    """Findings of each kind together, in the order in which kinds first occur."""
    for kind in dict.fromkeys(finding.code for finding in findings):
        alike = [finding for finding in findings if finding.code == kind]
        shown = alike if everything else alike[:_SHOWN_PER_KIND]
        steps = {finding.next_step for finding in alike}
        lines = [f"{kind}: {len(alike):,}"]
        for finding in shown:
            lines.append(f"  {visible(str(finding))}")
            if len(steps) > 1 and finding.next_step:
                lines.append(f"    → {visible(finding.next_step)}")
        if len(shown) < len(alike):
            lines.append(f"  … {len(alike) - len(shown):,} more; --all prints them")
        if len(steps) == 1:
            lines += [f"  → {visible(step)}" for step in steps if step]
        yield "\n".join(lines)
