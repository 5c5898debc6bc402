import json

import pytest
from stored_samples import ABOUT, KEY, OTHER, Sample, same, sample

from cache.errors import StoreError
from cache.store import Store

TRICKS = ["../../evil", "/etc/passwd", "a\x00b", "..", "con", "x" * 5000, "\udc80", "é", " a "]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def files_under(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def flip_last(path):
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


def test_parts_come_back_by_name_and_the_last_one_written_stays(store):
    store.put_part(KEY, "conv1", sample(1))
    store.put_part(KEY, "fc", sample(2))
    store.put_part(KEY, "conv1", sample(3))
    assert store.parts(KEY) == ("conv1", "fc")
    assert same(store.get_part(KEY, "conv1", Sample), sample(3))
    assert same(store.get_part(KEY, "fc", Sample), sample(2))
    assert store.get_part(KEY, "other", Sample) is None
    assert store.parts(OTHER) == ()


def test_the_final_result_drops_its_parts_and_no_others(store):
    store.put_part(KEY, "a", sample())
    store.put_part(OTHER, "a", sample())
    store.put(KEY, sample(), **ABOUT)
    assert store.parts(KEY) == ()
    assert store.parts(OTHER) == ("a",)
    store.drop_parts(OTHER)
    assert not files_under(store.root / "parts")


@pytest.mark.parametrize("cut", [None, 0, 10, 200])
def test_a_damaged_part_is_dropped_and_reported(store, cut):
    store.put_part(KEY, "a", sample())
    (path,) = files_under(store.root / "parts")
    if cut is None:
        flip_last(path)
    else:
        path.write_bytes(path.read_bytes()[:cut])
    assert [problem.kind for problem in store.verify()] == ["damaged"]
    told = []
    assert store.get_part(KEY, "a", Sample, told.append) is None
    assert len(told) == 1
    assert "`a`" in told[0]
    assert store.parts(KEY) == store.verify() == ()


def test_a_part_that_stands_in_for_another_is_dropped(store):
    store.put_part(KEY, "a", sample(1))
    store.put_part(KEY, "b", sample(2))
    a, b = sorted(files_under(store.root / "parts"), key=lambda p: b'"name": "b"' in p.read_bytes())
    b.write_bytes(a.read_bytes())
    told = []
    assert store.get_part(KEY, "b", Sample, told.append) is None
    assert "belongs to another part" in told[0]


@pytest.mark.parametrize("name", TRICKS)
def test_no_name_ever_becomes_a_path(store, name):
    store.put_part(KEY, name, sample())
    store.name(name, name, KEY)
    assert store.parts(KEY) == (name,)
    assert same(store.get_part(KEY, name, Sample), sample())
    assert store.named(name) == {name: KEY}
    paths = [p.relative_to(store.root).as_posix() for p in files_under(store.root)]
    assert all(set(p) <= set("abcdefghijklmnopqrstuvwxyz0123456789/.") for p in paths)
    assert len(files_under(store.root.parent)) == 2
    assert store.unname(name, name)
    assert store.named(name) == {}


def test_names_are_kept_by_kind_and_can_be_moved(store):
    store.name("configuration", "b", KEY)
    store.name("configuration", "a", KEY)
    store.name("configuration", "b", OTHER)
    store.name("study", "a", OTHER)
    assert list(store.named("configuration").items()) == [("a", KEY), ("b", OTHER)]
    assert store.named("study") == {"a": OTHER}
    assert not store.unname("study", "b")


def test_a_blank_name_is_refused(store):
    with pytest.raises(StoreError, match="must not be blank"):
        store.name("configuration", "  ", KEY)


def test_a_name_whose_result_is_gone_is_reported(store):
    store.put(KEY, sample(), **ABOUT)
    store.name("configuration", "mine", KEY)
    assert store.verify() == ()
    store.delete(KEY)
    (problem,) = store.verify()
    assert problem.kind == "dangling"
    assert "`mine`" in problem.text


def test_a_changed_pointer_is_set_aside_and_the_others_stay(store):
    store.name("configuration", "mine", KEY)
    (path,) = files_under(store.root / "names")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": OTHER}))
    store.name("configuration", "other", KEY)
    assert "damaged" in [problem.kind for problem in store.verify()]
    told = []
    assert store.named("configuration", told.append) == {"other": KEY}
    assert "save it again" in told[0]
    assert store.named("configuration", told.append) == {"other": KEY}
    assert len(told) == 1
