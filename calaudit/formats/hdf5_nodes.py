"""What an HDF5 file holds, found through links as well: hard, soft and external ones.

`h5py.Group.visititems` follows no soft and no external link, and sees a dataset under one name
only; what is linked would be missing without a word.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py

from calaudit.errors import FileFormatError


def node_at(file: h5py.File, name: str) -> h5py.Group | h5py.Dataset | None:
    """What stands under a top-level name; None where nothing does.

    Raises
    ------
    FileFormatError
        A link leads nowhere.
    """
    return _followed(file, name, name) if file.get(name, getlink=True) is not None else None


def datasets_in(file: h5py.File, group: str) -> dict[str, h5py.Dataset]:
    """All datasets under a top-level group, by their path below it, in name order.

    A tensor name with slashes (``encoder/x``) is stored as nested groups and found as one name.
    Links of every kind are followed; a dataset with two names is found under both.

    Raises
    ------
    FileFormatError
        A name isn't UTF-8; a link leads nowhere or in a circle; a virtual dataset's source is
        missing, for which HDF5 would give zeros.
    """
    node = node_at(file, group)
    found = dict(_datasets(node, group, ())) if isinstance(node, h5py.Group) else {}
    start = len(group) + 1
    return dict(sorted((path[start:], dataset) for path, dataset in found.items()))


def _datasets(
    group: h5py.Group, path: str, above: tuple[h5py.Group, ...]
) -> Iterator[tuple[str, h5py.Dataset]]:
    if group in above:
        raise FileFormatError(
            f"/{path} is a link to a group that it lies in",
            where=group.file.filename,
            next_step="Remove the link.",
        )
    for name in group:
        if isinstance(name, bytes) or not _is_utf8(name):
            raise FileFormatError(
                f"/{path} holds a name that isn't UTF-8: {name!r}",
                where=group.file.filename,
                next_step="The file may be damaged; build it again.",
            )
        below = f"{path}/{name}"
        node = _followed(group, name, below)
        if isinstance(node, h5py.Group):
            yield from _datasets(node, below, (*above, group))
        elif isinstance(node, h5py.Dataset):
            _check_sources(node, below)
            yield below, node


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _followed(group: h5py.Group, name: str, path: str) -> h5py.Group | h5py.Dataset:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.HardLink):
        return group[name]
    try:
        return group[name]
    except (KeyError, OSError):
        target = link.path
        if isinstance(link, h5py.ExternalLink):
            target = f"{target} of {link.filename}"
        raise FileFormatError(
            f"/{path} is a link to {target}, which isn't there",
            where=group.file.filename,
            next_step="Put it there, or remove the link.",
        ) from None


def _check_sources(dataset: h5py.Dataset, path: str) -> None:
    """Refuse a virtual dataset of which a source is missing: its values would read as zeros."""
    if not dataset.is_virtual:
        return
    folder = Path(dataset.file.filename).parent
    for source in dataset.virtual_sources():
        if _has_source(dataset, folder, source.file_name, source.dset_name):
            continue
        raise FileFormatError(
            f"/{path} is made of {source.dset_name} of {source.file_name}, which isn't there",
            where=dataset.file.filename,
            next_step="Put it there, or store the values themselves.",
        )


def _has_source(dataset: h5py.Dataset, folder: Path, file_name: str, name: str) -> bool:
    if file_name == ".":
        return name in dataset.file
    path = next((each for each in (Path(file_name), folder / file_name) if each.is_file()), None)
    if path is None:
        return False
    try:
        with h5py.File(path, "r", locking=False) as file:
            return name in file
    except OSError:
        return False
