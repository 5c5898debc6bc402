import errno
import os
import subprocess
import sys
import time

import pytest
from stored_samples import ABOUT, KEY, OTHER, Sample, same, sample

from cache import files
from cache.errors import StoreError
from cache.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


OPEN = os.open


def failing(code, after=0):
    """Raise an error of the operating system from the call number ``after`` on."""
    calls = []

    def wrap(function):
        def call(*args, **kwargs):
            if function is OPEN and not args[1] & os.O_CREAT:
                return function(*args, **kwargs)  # looking takes no room on the disk
            calls.append(args)
            if len(calls) > after:
                raise OSError(code, os.strerror(code))
            return function(*args, **kwargs)

        return call

    return wrap


def writes(store):
    return {
        "result": lambda: store.put(KEY, sample(), **ABOUT),
        "part": lambda: store.put_part(KEY, "a", sample()),
        "name": lambda: store.name("configuration", "a", KEY),
    }


def message_of(action):
    try:
        action()
    except StoreError as error:
        return str(error)
    return ""


def files_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def make_older(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("what", ["result", "part", "name"])
@pytest.mark.parametrize("call", ["fsync", "open", "replace"])
@pytest.mark.parametrize("after", range(5))
def test_a_full_disk_gives_one_sentence_and_nothing_half_written(
    store, monkeypatch, what, call, after
):
    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, failing(errno.ENOSPC, after)(getattr(os, call)))
        message = message_of(writes(store)[what])
    if message or not after:
        assert "the disk is full; free some space" in message
        assert "\n" not in message
    assert not files.children(store.root / "tmp")
    # The last sync follows the move, so a failed write may be there, but then it is whole.
    assert "damaged" not in [problem.kind for problem in store.verify()]
    if not message and what == "result":
        assert same(store.get(KEY, Sample), sample())


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_an_unwritable_folder_gives_one_sentence(store, monkeypatch, code):
    monkeypatch.setattr(os, "mkdir", failing(code)(os.mkdir))
    for write in writes(store).values():
        with pytest.raises(StoreError, match=r"access is refused .*BITLENS_CACHE"):
            write()
    assert not store.root.exists()


def test_an_unreadable_disk_is_an_error_and_no_damage(store, monkeypatch):
    store.put(KEY, sample(), **ABOUT)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", failing(errno.EIO)(None))
        with pytest.raises(StoreError, match="check the disk"):
            store.get(KEY, Sample)
    assert same(store.get(KEY, Sample), sample())


def test_a_write_that_is_broken_off_leaves_no_temporary_folder(store, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        store.put(KEY, sample(), **ABOUT)
    assert not files.children(store.root / "tmp")
    assert not store.contains(KEY)


def test_a_full_disk_can_be_cleared(store, monkeypatch):
    store.put(KEY, sample(), **ABOUT)
    for call in ("fsync", "open"):
        monkeypatch.setattr(files.os, call, failing(errno.ENOSPC)(getattr(os, call)))
    assert store.clear() > 0
    assert not store.contains(KEY)


def test_leftovers_of_a_killed_writer_are_reported_and_cleared(store):
    code = (
        "import os, pathlib, sys; from cache import files\n"
        "with files.staging(pathlib.Path(sys.argv[1])) as folder:\n"
        "    files.write(folder / 'record.json', b'123')\n"
        "    os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False, env=environment())
    (problem,) = store.verify()
    assert problem.kind == "leftover"
    assert "3 bytes" in problem.text
    assert store.clear() == 3
    assert store.verify() == ()


def test_the_temporary_folder_of_a_living_writer_is_left_alone_until_it_is_old(store):
    with files.staging(store.root) as folder:
        files.write(folder / "record.json", b"123")
        assert store.verify() == ()
        assert store.clear() == 0
        assert (folder / "record.json").exists()
        make_older(folder, files.ABANDONED_AFTER_SECONDS + 60)
        assert [problem.kind for problem in store.verify()] == ["leftover"]
        assert store.clear() == 3


def test_a_folder_of_an_unknown_writer_is_left_alone_until_it_is_old(store):
    folder = store.root / "tmp" / "elsewhere-1-x"
    folder.mkdir(parents=True)
    assert store.verify() == ()
    make_older(folder, files.ABANDONED_AFTER_SECONDS + 60)
    assert [problem.kind for problem in store.verify()] == ["leftover"]


def test_clear_returns_the_bytes_that_it_frees_and_leaves_no_file(store):
    store.put(KEY, sample(), **ABOUT)
    (store.root / "v1" / KEY[:2] / KEY / "record.json").write_text("{}")
    assert store.get(KEY, Sample, lambda text: None) is None
    store.put(KEY, sample(), **ABOUT)
    store.put_part(OTHER, "a", sample())
    total = sum(path.stat().st_size for path in files_under(store.root))
    assert store.clear() == total
    assert not files_under(store.root)
    assert store.clear() == 0


def test_clear_by_age_keeps_what_is_younger(store):
    store.put(KEY, sample(), **ABOUT)
    store.put(OTHER, sample(), **ABOUT)
    make_older(store.root / "v1" / OTHER[:2] / OTHER, 1000)
    assert store.clear(older_than_seconds=2000) == 0
    assert store.clear(older_than_seconds=500) > 0
    assert [entry.key for entry in store.entries()] == [KEY]


def test_clear_keeps_what_a_name_points_to_unless_told_otherwise(store):
    store.put(KEY, sample(), **ABOUT)
    store.put(OTHER, sample(), **ABOUT)
    store.name("configuration", "mine", KEY)
    store.clear()
    assert [entry.key for entry in store.entries()] == [KEY]
    store.clear(keep_named=False)
    assert store.entries() == ()
    assert store.named("configuration") == {"mine": KEY}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_folder_that_is_swept_away_during_a_write_is_no_error(store, monkeypatch, moment):
    move, swept = os.replace, []

    def replace(source, target):
        if swept:
            return move(source, target)
        swept.append(target)
        if moment == "after":
            move(source, target)
        files.discard(store.root, target.parent)
        return move(source, target) if moment == "before" else None

    monkeypatch.setattr(files.os, "replace", replace)
    store.put_part(KEY, "a", sample())
    assert store.parts(KEY) == (("a",) if moment == "before" else ())
    assert not files.children(store.root / "tmp")


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
