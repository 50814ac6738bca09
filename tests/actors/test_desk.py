"""What an owner may ask of the library."""

import sqlite3

import pytest

from actors.desk import PAGE, Desk
from actors.library import queue
from actors.messages import (
    AskBelow,
    AskDeadLetter,
    AskDeadLetters,
    Below,
    DeadLetters,
    Done,
    DropLetters,
    Forget,
    Forgot,
    LettersMoved,
    Pause,
    Repair,
    Repaired,
    RetryLetters,
    ThumbnailsLost,
)
from actors.photo.thumbnails import thumbnail_path
from tests.actors.library.catalogs import Catalog, decoded, digest_of, empty_catalog

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def made(tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(empty_catalog())


@pytest.fixture
async def catalog(made, tmp_path, anyio_backend):
    catalog = Catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.sqlite")
    await catalog.open()
    yield catalog
    assert await catalog.reader.miscounted() == []
    await catalog.close()


@pytest.fixture
async def desk(catalog, tmp_path):
    desk = Desk(
        catalog.writer,
        catalog.reader,
        database=catalog.url,
        derived=tmp_path / "derived",
        logs=tmp_path / "logs",
    )
    await desk.open()
    return desk


async def give_up(catalog, *names):
    await catalog.see(*names)
    await catalog.fail(await catalog.decodes(1000), "photo")


async def test_letters_come_in_pages_without_what_only_one_of_them_shows(catalog, desk):
    await give_up(catalog, *[b"%d.jpg" % i for i in range(PAGE + 1)])
    first = await desk.handle(AskDeadLetters(), catalog.now)
    rest = await desk.handle(AskDeadLetters(first.letters[-1].task), catalog.now)
    assert [len(page.letters) for page in (first, rest)] == [PAGE, 1]
    assert (first.letters[0].path, first.letters[0].reason) == (
        b"/photos/0.jpg",
        "photo is at fault",
    )
    assert (first.letters[0].stderr_tail, first.letters[0].exit_reason) == ("", "")


async def test_one_letter_tells_how_its_process_ended(catalog, desk):
    await catalog.see(b"a.jpg")
    for _ in range(3):
        ids = [task.id for task in await catalog.decodes()]
        await catalog.writer.charge(ids, "killed by SIGSEGV", "Segmentation fault", catalog.now)
    answer = await desk.handle(AskDeadLetter(1), catalog.now)
    (letter,) = answer.letters
    assert (letter.exit_reason, letter.stderr_tail) == ("killed by SIGSEGV", "Segmentation fault")
    assert await desk.handle(AskDeadLetter(2), catalog.now) == DeadLetters([])


async def test_letters_are_retried_and_dropped_and_the_unknown_are_left_out(catalog, desk):
    await give_up(catalog, b"a.jpg", b"b.jpg", b"c.jpg")
    assert await desk.handle(RetryLetters([1, 99]), catalog.now) == LettersMoved([1])
    assert await desk.handle(DropLetters([2, 99]), catalog.now) == LettersMoved([2])
    assert await desk.handle(RetryLetters([], all=True), catalog.now) == LettersMoved([3])
    assert await catalog.counts("decode") == (2, 0, 0, 0)
    assert (await catalog.totals()).skipped == 1


async def test_a_pause_is_known_to_the_next_desk_too(catalog, desk):
    assert desk.paused_since_ns == 0
    assert await desk.handle(Pause(on=True), catalog.now) == Done()
    assert desk.paused_since_ns == catalog.now
    await desk.handle(Pause(on=False), catalog.now)
    assert desk.paused_since_ns == 0


async def test_what_is_lost_is_on_its_way_again_and_counted_once(catalog, desk):
    await catalog.index(b"a.jpg", b"b.jpg")
    assert await desk.handle(ThumbnailsLost([1]), catalog.now) is None
    answer = await desk.handle(Repair([1, 2, 77], [1], counters=True), catalog.now)
    assert answer == Repaired(thumbnails=1, vectors=0, counters=0)
    assert await catalog.counts("decode") == (2, 0, 0, 0)


def leave_files(folder, digest):
    for side in (256, 1024):
        path = thumbnail_path(folder / "derived", digest, side)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture")
        path.with_name(f".{path.name}.4711").write_bytes(b"half a picture")


async def test_forgetting_takes_files_lines_and_old_copies_along(catalog, desk, tmp_path):
    await catalog.index(b"secret.jpg", b"beach.jpg", b"copy.jpg")
    await catalog.index(b"twin.jpg", same=b"copy.jpg")
    for name in (b"secret.jpg", b"beach.jpg", b"copy.jpg"):
        leave_files(tmp_path, digest_of(name))
    (tmp_path / "catalog.sqlite.before-2").write_bytes(b"secret.jpg")
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "decode.0.log"
    log.write_text(
        '{"timestamp":"t","from":"decode.0","level":"debug","event":"/photos/secret.jpg"}\n'
    )
    assert await desk.handle(AskBelow(b"/photos/secret.jpg"), catalog.now) == Below(1, 1)
    assert await desk.handle(Forget(b"/photos/secret.jpg"), catalog.now) == Forgot(1, 1, [], [])
    assert await desk.handle(Forget(b"/photos/copy.jpg"), catalog.now) == Forgot(
        1, 0, [3], [b"/photos/twin.jpg"]
    )
    left = sorted(path.name for path in (tmp_path / "derived").rglob("*") if path.is_file())
    kept = sorted(digest_of(name).hex() for name in (b"beach.jpg", b"copy.jpg"))
    assert sorted({name.lstrip(".").partition(".")[0] for name in left}) == kept
    assert not (tmp_path / "catalog.sqlite.before-2").exists()
    assert "secret" not in log.read_text()
    assert (tmp_path / "catalog.sqlite-wal").stat().st_size == 0
    database = sqlite3.connect(tmp_path / "catalog.sqlite")
    names = [name for (name,) in database.execute("SELECT name FROM files")]
    database.close()
    assert names == [b"beach.jpg", b"twin.jpg"]


async def test_a_picture_that_nobody_wanted_leaves_no_thumbnails(catalog, desk, tmp_path):
    await catalog.see(b"a.jpg")
    (task,) = await catalog.decodes()
    await desk.handle(Forget(b"/photos/a.jpg"), catalog.now)
    leave_files(tmp_path, digest_of(b"a.jpg"))  # by a decoder that had it in hand
    await catalog.settle(decoded(task))
    await desk.discard(catalog.writer.take_unwanted())
    assert [path for path in (tmp_path / "derived").rglob("*") if path.is_file()] == []


async def test_a_large_folder_is_forgotten_in_several_answers(catalog, desk, monkeypatch):
    monkeypatch.setattr("actors.desk.STEP", 2)
    monkeypatch.setattr("actors.desk.STEPS", 2)
    await catalog.see(*[b"%d.jpg" % i for i in range(6)], directory=b"trip")
    await catalog.see(b"copy.jpg")
    # the first and the last of the folder are one photo, and so are the second and the copy
    same = {b"5.jpg": b"0.jpg", b"copy.jpg": b"1.jpg"}
    tasks = await catalog.decodes()
    names = {task.id: task.path.rpartition(b"/")[2] for task in tasks}
    await catalog.settle(
        *[decoded(task, same.get(names[task.id], names[task.id])) for task in tasks]
    )
    first = await desk.handle(Forget(b"/photos/trip"), catalog.now)
    rest = await desk.handle(Forget(b"/photos/trip"), catalog.now)
    assert (first.files, first.more, rest.files, rest.more) == (4, True, 2, False)
    assert first.photos + rest.photos == 4
    assert (first.elsewhere, rest.elsewhere) == ([b"/photos/copy.jpg"], [])
    assert (await catalog.totals()).files == 1


async def test_a_photo_that_only_a_missing_file_still_holds_is_told_as_kept(catalog, desk):
    await catalog.index(b"a.jpg", b"on a disk that is away.jpg", same=b"beach")
    await catalog.lose(b"on a disk that is away.jpg")
    forgot = await desk.handle(Forget(b"/photos/a.jpg"), catalog.now)
    assert forgot == Forgot(1, 0, [1], [b"/photos/on a disk that is away.jpg"])


async def test_a19_whoever_lists_the_letters_hears_how_many_had_to_give_up_their_details(
    desk, catalog, monkeypatch
):
    monkeypatch.setattr(queue, "LETTERS", 1)
    await catalog.see(b"a", b"b")
    for _ in range(queue.CRASHES):
        ids = [task.id for task in await catalog.decodes()]
        await catalog.writer.charge(ids, "signal 11", "Segmentation fault", catalog.now)
    answer = await desk.handle(AskDeadLetters(0), catalog.now)
    assert (len(answer.letters), answer.trimmed) == (2, 1)
    (old,) = (await desk.handle(AskDeadLetter(1), catalog.now)).letters
    (new,) = (await desk.handle(AskDeadLetter(2), catalog.now)).letters
    assert (old.reason, old.stderr_tail) == ("signal 11", "")
    assert (new.reason, new.stderr_tail) == ("signal 11", "Segmentation fault")
