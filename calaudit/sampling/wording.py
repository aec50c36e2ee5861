"""A recipe in words, for reports."""

from calaudit.sampling.recipe import Recipe


def describe_recipe(recipe: Recipe) -> str:
    """How a set is drawn, such as ``"stratified, equal over noise × label"``."""
    text: str = recipe.kind
    if recipe.kind == "stratified":
        over = " × ".join(dimension.title for dimension in recipe.strata)
        text += f", {recipe.allocation or 'proportional'} over {over}"
        if recipe.deviation:
            text += f" by the deviation of {recipe.deviation}"
    if recipe.only:
        text += f", only {', '.join(recipe.only)}"
    if recipe.without:
        text += f", without {', '.join(recipe.without)}"
    if recipe.shares:
        text += ", " + ", ".join(f"{share:.0%} {name}" for name, share in recipe.shares.items())
    if recipe.embedding is not None:
        where = recipe.embedding
        space = where.tap or ", ".join(where.columns) or f"{where.pca} principal components"
        text += f", {recipe.algorithm or 'k-center'} over {space}"
    return f"{text}; from {recipe.candidates}" if recipe.candidates else text
