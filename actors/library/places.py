"""Which rows lie at, or below, a path that the owner names."""

from sqlalchemy import ColumnElement, and_, or_, true

from actors.library.schema import directories, files


def within(path: bytes, root: bytes) -> ColumnElement[bool] | None:
    """The condition on `files` and `directories`, under *root*, to lie at or below *path*.

    *path* may be a file, a folder or one that *root* itself lies in; both are absolute.  None
    when nothing under *root* can lie there.
    """
    path, top = path.rstrip(b"/"), root.rstrip(b"/")
    if path == top or top.startswith(path + b"/"):
        return true()
    if not path.startswith(top + b"/"):
        return None
    relative = path[len(top) + 1 :]
    parent, _, name = relative.rpartition(b"/")
    return or_(
        and_(directories.c.path == parent, files.c.name == name),
        directories.c.path == relative,
        # As a range, which an index serves: "0" is what follows "/".
        and_(directories.c.path > relative + b"/", directories.c.path < relative + b"0"),
    )
