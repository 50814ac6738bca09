"""What a graph must have to be of its kind: looked up by name, before anything is run."""

from models.errors import ModelBroken
from models.pack import Caption
from models.session import Port, Session
from models.tower import check_contract

FLOATS = ("float32", "float16")


def check_eyes(session: Session, caption: Caption) -> Port:
    """The one input of a graph that looks at pictures.

    Raises:
        ModelBroken: it has others, or another shape or dtype.
    """
    feed = next(iter(session.inputs), "pixel_values")
    square = (3, caption.size, caption.size)
    return check_contract(session, feed=feed, dtypes=FLOATS, shape=square)


def check_input(session: Session, name: str, dtypes: tuple[str, ...], *ranks: int) -> Port:
    """The input *name*, of one of *dtypes* and as many dimensions as one of *ranks*.

    Raises:
        ModelBroken: there is none, or another.
    """
    if name not in session.inputs:
        found = ", ".join(map(repr, session.inputs)) or "none"
        raise ModelBroken(session.path, f"expected an input {name!r}, found {found}")
    return _checked(session, session.inputs[name], dtypes, ranks)


def check_output(session: Session, name: str, dtypes: tuple[str, ...], *ranks: int) -> Port:
    """As `check_input`."""
    if name not in session.outputs:
        found = ", ".join(map(repr, session.outputs)) or "none"
        raise ModelBroken(session.path, f"expected an output {name!r}, found {found}")
    return _checked(session, session.outputs[name], dtypes, ranks)


def _checked(session: Session, port: Port, dtypes: tuple[str, ...], ranks: tuple[int, ...]) -> Port:
    if port.dtype.name not in dtypes:
        raise ModelBroken(
            session.path, f"expected {port.name!r} to be {' or '.join(dtypes)}, found {port.dtype}"
        )
    if port.shape and len(port.shape) not in ranks:  # one left open shows when it runs
        raise ModelBroken(
            session.path,
            f"expected {port.name!r} to have {' or '.join(map(str, ranks))} dimensions, "
            f"found {len(port.shape)}",
        )
    return port
