"""Whose fault it is, in the words the catalog knows."""

import errno
from typing import get_args

import pytest

from actors.messages import Fault
from actors.photo.errors import BadPhoto, Busy, HostAway, NoRoom, NotAPhoto, Unread, while_writing


def test_faults_are_the_catalogs_words():
    faults = {kind.fault for kind in (BadPhoto, Busy, HostAway)}
    assert faults == {"photo", "busy", "host"}
    assert faults < set(get_args(Fault))
    assert NotAPhoto.fault == ""


def test_the_reason_is_the_message():
    assert str(BadPhoto("damaged")) == BadPhoto("damaged").reason == "damaged"
    assert issubclass(HostAway, Unread)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoRoom),
        (errno.EDQUOT, NoRoom),
        (errno.EROFS, HostAway),
        (errno.EACCES, HostAway),
        (errno.EMFILE, Busy),
    ],
)
def test_thumbnails_that_cannot_be_written_are_never_the_photos_fault(number, kind):
    assert type(while_writing(OSError(number, "x"))) is kind
