"""Items of HDF5 files from strangers, which may name other files to read or claim far more than they hold."""

import h5py

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_MOST_INFLATION = 1032
"""What deflate makes of one byte at most."""


def checked_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Opens a data set that lies in the file itself and can be read into memory in proportion to the file's size.

    Args:
        group: where it lies; an open file counts.
        name: path from there, with "/" between its parts.

    Returns:
        The data set; nothing of it is read yet.

    Raises:
        ValueError: there is no such data set, or it does not pass `check_dataset` or `checked_item`.
    """
    item = checked_item(group, name)
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{name!r} is a group where a data set is expected")
    return item


def checked_item(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Opens a group or a data set without following links by name, which may lead into other files.

    Args:
        group: where it lies.
        name: path from there, with "/" between its parts.

    Returns:
        The item; a data set has passed `check_dataset`.

    Raises:
        ValueError: there is no such item, it is a soft or external link, or a data set that is refused.
    """
    item: h5py.Group | h5py.Dataset = group
    for part in name.strip("/").split("/"):
        if not isinstance(item, h5py.Group) or not has_link(item, part):
            raise ValueError(f"it has no {name!r}")
        if item.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"{name!r} is a link by name, perhaps to another file; only what lies here itself is read")
        item = item[part]
    return _checked(item, name)


def checked_reference(file: h5py.File, reference: h5py.Reference) -> h5py.Group | h5py.Dataset:
    """Opens what a reference refers to, which always lies in the same file.

    Args:
        file: the file that the reference was read from.
        reference: as read.

    Returns:
        The item; a data set has passed `check_dataset`.

    Raises:
        ValueError: the reference leads nowhere, or to a data set that is refused.
    """
    return _checked(file[reference], "what a reference refers to")


def _checked(item: h5py.Group | h5py.Dataset | h5py.Datatype, name: str) -> h5py.Group | h5py.Dataset:
    if isinstance(item, h5py.Dataset):
        check_dataset(item)
    elif not isinstance(item, h5py.Group):
        raise ValueError(f"{name!r} is neither a group nor a data set")
    return item


def has_link(group: h5py.Group, name: str) -> bool:
    """Whether a group has a link of this name. `name in group` would look into the file that a link names."""
    return bool(group.id.links.exists(name.encode()))


def is_references(dataset: h5py.Dataset) -> bool:
    """Whether a data set holds references. NumPy itself sees no difference to text and other Python objects."""
    return h5py.check_ref_dtype(dataset.dtype) is h5py.Reference


def check_dataset(dataset: h5py.Dataset) -> None:
    """Refuses a data set whose values lie elsewhere, or are far more than the bytes stored for them.

    Args:
        dataset: opened, not read.

    Raises:
        ValueError: values lie in other files, have no fixed size, pass through filters other than gzip's, or inflate
            to more than gzip can hold in the bytes stored.
    """
    # First, because even the shape of a virtual data set may depend on other files.
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name!r} keeps its values in other files; only what lies here itself is read")
    if dataset.shape is None or (dataset.dtype.hasobject and not is_references(dataset)):
        raise ValueError(f"{dataset.name!r} holds values without a fixed size")
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    # Deflated twice, a few bytes hold gigabytes.
    if not _FILTERS.issuperset(filters) or len(filters) > len(set(filters)):
        raise ValueError(f"{dataset.name!r} has the filters {filters}; only gzip, shuffle and fletcher32 are read")
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > _MOST_INFLATION * stored or stored > dataset.file.id.get_filesize():
        raise ValueError(f"{dataset.name!r} claims {dataset.nbytes} bytes, of which {stored} are stored")
