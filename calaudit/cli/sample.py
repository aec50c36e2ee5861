"""``calaudit sample``: draw calibration sets from a pool."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calaudit.cli import recipe_flags as flags
from calaudit.cli.coverage_text import coverage_json, coverage_text
from calaudit.cli.flags import ByFlags, CrossFlags, WhereFlags, read_dimensions
from calaudit.cli.output import print_notes, text_columns
from calaudit.runtime.errors import SettingsError
from calaudit.runtime.progress import stage
from calaudit.runtime.words import counted

if TYPE_CHECKING:
    from calaudit.formats.calibset import DrawnSet
    from calaudit.runtime.pool import Pool
    from calaudit.sampling.recipe import Recipe
    from calaudit.slices.sliceset import SliceSet
    from calaudit.steps.predict import ModelOutputs
    from calaudit.steps.range_coverage import RangeCoverage

Recipes = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[RECIPE]...", help="Recipe files (TOML). Without one, give flags."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE|FOLDER",
        help="Where to write the set: a file, or a folder for several. "
        "Without it nothing is written, the composition is printed.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, help="For recipes without one of their own.")
]
Evaluate = Annotated[
    str | None,
    typer.Option(
        "--evaluate", metavar="SQL", help="SQL predicate: evaluation samples, never drawn."
    ),
]
ModelFile = Annotated[
    Path | None, typer.Option("--model", help="FP32 model (ONNX), for fp32-loss, taps and --cover.")
]
Cover = Annotated[
    bool,
    typer.Option(
        "--cover",
        help="Say how well each set's ranges cover each slice: predicted harm beside the least "
        "possible, by one FP32 pass. Needs --model.",
    ),
]


app = typer.Typer(add_completion=False)


@app.command(
    "sample", epilog="Example:  calaudit sample pool.h5 calibsets/digits-equal.toml --out equal.h5"
)
def sample_command(
    context: typer.Context,
    pool: Annotated[Path, typer.Argument(metavar="POOL", help="Pool file (HDF5).")],
    recipes: Recipes = None,
    *,
    out: Out = None,
    seed: Seed = 0,
    evaluate: Evaluate = None,
    model: ModelFile = None,
    cover: Cover = False,
    by: ByFlags = None,
    where: WhereFlags = None,
    cross: CrossFlags = None,
    size: flags.Size = None,
    name: flags.Name = None,
    kind: flags.Kind = None,
    candidates: flags.CandidatesFlag = None,
    stratify: flags.Stratify = None,
    allocation: flags.AllocationFlag = None,
    deviation: flags.Deviation = None,
    loss: flags.LossFlag = None,
    floor: flags.Floor = None,
    cap: flags.Cap = None,
    only: flags.Only = None,
    without: flags.Without = None,
    share: flags.Share = None,
    column: flags.Column = None,
    pca: flags.Pca = None,
    tap: flags.Tap = None,
    algorithm: flags.Algorithm = None,
    start: flags.Start = None,
    option: flags.Option = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw calibration sets, by recipe files or by flags, and print what they hold."""
    given = {key: context.params[key] for key in flags.RECIPE_FLAGS}
    given = {key: value for key, value in given.items() if value not in (None, [], ())}
    dimensions = read_dimensions(by, where, cross)
    chosen = flags.read_recipes(recipes or [], given, read_dimensions(stratify), dimensions)
    if cover and model is None:
        raise SettingsError(
            "ranges are of a model's tensors, and no model is given",
            where="--cover",
            next_step="Add --model with the FP32 model (ONNX).",
        )
    places = _places([path.stem for path in recipes or []] or [chosen[0].name], out)
    with stage("starting"):
        from calaudit.formats.pool import open_pool
        from calaudit.formats.writing import keep_apart
        from calaudit.slices.evaluate import evaluate_slices
        from calaudit.steps.sample import draw_set, write_set

    for place in places:
        if place is not None:
            keep_apart(place, pool, *(recipes or []), *([] if model is None else [model]))
    with stage("drawing"), open_pool(pool) as opened:
        slices = evaluate_slices(dimensions, opened)
        run = None if model is None else _read_model(model, opened)
        drawn = [
            draw_set(opened, each, seed=seed, evaluate=evaluate, slices=slices, run_outputs=run)
            for each in chosen
        ]
        covered = None
        if cover and model is not None:
            covered = _covered(model, opened, chosen, drawn, slices=slices, evaluate=evaluate)
        for each, place in zip(drawn, places, strict=True):
            if place is not None:
                write_set(opened, each, place)
    _print(drawn, places, covered, as_json=as_json)


def _covered(
    model: Path,
    pool: "Pool",
    recipes: "Sequence[Recipe]",
    drawn: "Sequence[DrawnSet]",
    *,
    slices: "SliceSet",
    evaluate: str | None,
) -> "RangeCoverage":
    """How well the sets cover the slices that were asked for, and those of their recipes."""
    from calaudit.steps.candidates import find_slices
    from calaudit.steps.range_coverage import cover_draws

    for recipe in recipes:
        slices = find_slices(pool, recipe, slices)
    return cover_draws(
        model, pool, {each.name: each.rows for each in drawn}, slices, evaluate=evaluate
    )


def _read_model(path: Path, pool: "Pool") -> "ModelOutputs":
    # onnx and onnxruntime take longer to import than most draws take.
    from calaudit.steps.predict import read_model_outputs

    return read_model_outputs(path, pool)


def _places(names: Sequence[str], out: Path | None) -> list[Path | None]:
    """File of each set, by the names of the recipes' files (or the one recipe's own)."""
    if out is None:
        return [None] * len(names)
    if out.is_dir() or (len(names) > 1 and not out.exists() and out.suffix == ""):
        return [out / f"{name.replace('/', '_')}.h5" for name in names]
    if len(names) > 1:
        raise SettingsError(
            f"{len(names)} sets can't go into the one file {out}",
            where="--out",
            next_step="Name a folder.",
        )
    return [out]


def _print(
    drawn: Sequence["DrawnSet"],
    places: Sequence[Path | None],
    covered: "RangeCoverage | None",
    *,
    as_json: bool,
) -> None:
    if as_json:
        sets = [_as_json(each, place) for each, place in zip(drawn, places, strict=True)]
        content: dict[str, Any] = {"calibsets": sets}
        if covered is not None:
            content["coverage"] = coverage_json(covered)
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for number, each in enumerate(drawn):
        print_notes(each.notices)
        print(("\n" if number else "") + _as_text(each))
    if covered is not None:
        print(f"\n{coverage_text(covered)}")
    for place in places:
        done = "nothing was written; --out writes the set" if place is None else f"wrote {place}"
        print(f"calaudit: {done}", file=sys.stderr)


def _as_text(drawn: "DrawnSet") -> str:
    recipe = drawn.recipe
    everything = drawn.composition[0]
    heading = (
        f"{drawn.name}: {len(drawn):,} of {counted(everything.candidates, 'candidate')}, "
        f"{recipe.kind}, "
        f"seed {drawn.seed}, Kish n_eff {drawn.kish_n_eff:,.1f}"
    )
    parts = [heading]
    if len(drawn.strata) > 1:
        rows = [["stratum", "candidates", "asked", "drawn"]]
        rows += [
            [each.label, f"{each.population:,}", f"{each.asked:,}", f"{each.drawn:,}"]
            for each in drawn.strata
        ]
        parts.append(text_columns(rows))
    rows = [["slice", "candidates", "drawn", "share", "mean weight"]]
    for part in drawn.composition:
        weight = "·" if part.mean_weight is None else f"{part.mean_weight:.3g}"
        share = f"{part.share:.1%}"
        rows.append([part.name, f"{part.candidates:,}", f"{part.drawn:,}", share, weight])
    parts.append(text_columns(rows))
    return "\n\n".join(parts)


def _as_json(drawn: "DrawnSet", place: Path | None) -> dict[str, Any]:
    return {
        "name": drawn.name,
        "file": None if place is None else str(place),
        "recipe": json.loads(drawn.recipe.to_json()),
        "seed": drawn.seed,
        "pool": drawn.pool_label,
        "pool_fingerprint": drawn.pool_fingerprint,
        "size": len(drawn),
        "kish_n_eff": drawn.kish_n_eff,
        "strata": [asdict(each) for each in drawn.strata],
        "composition": [asdict(each) for each in drawn.composition],
        "notices": [asdict(each) for each in drawn.notices],
    }
