"""Numbers of things in words: one sample, two samples."""


def counted(n: int, thing: str, things: str | None = None) -> str:
    """A number with what it counts.

    Parameters
    ----------
    n : int
    thing : str
        For 1.
    things : str, optional
        For any other number; by default `thing` with an s.

    Examples
    --------
    >>> counted(1, "sample"), counted(1200, "sample"), counted(0, "query", "queries")
    ('1 sample', '1,200 samples', '0 queries')
    """
    return f"{n:,} {thing if n == 1 else things or f'{thing}s'}"
