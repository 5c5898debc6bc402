import json
import logging
import os
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_samples import ABOUT, KEY, OTHER, RECORD_CLASSES, Sample, same, sample, values

from cache import sealed
from cache.errors import CodecError, StoreError
from cache.keys import key
from cache.layout import default_root
from cache.store import Store


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    rate: float = float("inf")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def stored(store):
    store.put(KEY, sample(), **ABOUT)
    return store


def folder_of(store, key=KEY):
    return store.root / "v1" / key[:2] / key


def flip(path, position=-40):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def problems(store):
    return [problem.kind for problem in store.verify()]


@pytest.mark.parametrize("cls", RECORD_CLASSES, ids=lambda cls: cls.__name__)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_every_record_of_the_library_comes_back_from_disk(cls, data, tmp_path_factory):
    store, record = Store(tmp_path_factory.mktemp("store")), data.draw(values(cls))
    store.put(KEY, record, **ABOUT)
    assert same(record, store.get(KEY, cls))


def test_an_entry_lies_where_its_key_says_with_its_manifest(stored):
    assert sorted(p.name for p in folder_of(stored).iterdir()) == [
        "arrays.npz",
        "manifest.json",
        "record.json",
    ]
    manifest = json.loads((folder_of(stored) / "manifest.json").read_text())
    for name in ("record.json", "arrays.npz"):
        assert manifest["files"][name]["size"] == (folder_of(stored) / name).stat().st_size
    assert {p.name for p in stored.root.iterdir()} == {"v1", "tmp"}
    assert not list((stored.root / "tmp").iterdir())


def test_what_was_never_stored_is_none_and_makes_no_folder(store):
    assert store.get(KEY, Sample) is None
    assert not store.contains(KEY)
    assert not store.delete(KEY)
    assert store.entries() == store.verify() == ()
    assert store.parts(KEY) == ()
    assert store.named("configuration") == {}
    assert not (store.root / "v1").exists()


def test_the_first_writer_wins(stored):
    stored.put(KEY, sample(9), **ABOUT)
    assert same(stored.get(KEY, Sample), sample())


def test_a_writer_who_comes_second_at_the_last_moment_changes_nothing(stored, monkeypatch):
    monkeypatch.setattr(Store, "contains", lambda self, key: False)
    stored.put(KEY, sample(9), **ABOUT)
    assert same(stored.get(KEY, Sample), sample())
    assert not list((stored.root / "tmp").iterdir())


def test_a_deleted_result_is_gone_and_can_be_stored_anew(stored):
    assert stored.delete(KEY)
    assert stored.get(KEY, Sample) is None
    stored.put(KEY, sample(9), **ABOUT)
    assert same(stored.get(KEY, Sample), sample(9))


def test_entries_tell_what_a_result_was_made_from(store):
    k = key("score", 1, {"model": "m"}, Settings())
    before = time.time()
    store.put(k, sample(), step="score", inputs={"model": "m"}, options=Settings())
    store.put(KEY, sample(), **ABOUT, environment={"threads": 2})
    first, second = store.entries()
    assert (first.key, first.step, first.record) == (k, "score", "Sample")
    assert first.inputs == {"model": "m"}
    assert first.options == {"seed": 0, "rate": float("inf")}
    assert second.environment == {"threads": 2}
    assert before - 1 < first.created.timestamp() <= second.created.timestamp()
    assert first.created.utcoffset().total_seconds() == 0
    assert first.size_bytes == sum(p.stat().st_size for p in folder_of(store, k).iterdir())


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda f: flip(f / "arrays.npz"), "arrays.npz does not match its checksum"),
        (lambda f: flip(f / "record.json"), "record.json does not match its checksum"),
        (lambda f: flip(f / "manifest.json"), "its manifest"),
        (lambda f: os.truncate(f / "record.json", 20), "record.json has 20 bytes instead of"),
        (lambda f: os.truncate(f / "arrays.npz", 0), "arrays.npz has 0 bytes instead of"),
        (lambda f: os.truncate(f / "manifest.json", 30), "its manifest is no longer readable"),
        (lambda f: (f / "manifest.json").write_text("[]"), "its manifest does not match"),
        (lambda f: (f / "manifest.json").unlink(), "its manifest is missing"),
        (lambda f: (f / "record.json").unlink(), "record.json is missing"),
        (lambda f: (f / "arrays.npz").unlink(), "arrays.npz is missing"),
    ],
)
def test_a_damaged_entry_is_set_aside_and_reported_once(stored, harm, reason):
    harm(folder_of(stored))
    assert problems(stored) == ["damaged"]
    told = []
    assert stored.get(KEY, Sample, told.append) is None
    assert stored.get(KEY, Sample, told.append) is None
    assert len(told) == 1
    assert reason in told[0]
    assert told[0].endswith("it will be computed again.")
    assert not folder_of(stored).exists()
    assert problems(stored) == ["quarantined"]
    stored.put(KEY, sample(), **ABOUT)
    assert same(stored.get(KEY, Sample), sample())


def test_an_entry_under_the_key_of_another_is_set_aside(stored):
    folder_of(stored, OTHER).parent.mkdir()
    folder_of(stored).rename(folder_of(stored, OTHER))
    told = []
    assert stored.get(OTHER, Sample, told.append) is None
    assert "belongs to another result" in told[0]


def test_damage_is_logged_when_nobody_listens(stored, caplog):
    flip(folder_of(stored) / "arrays.npz")
    with caplog.at_level(logging.WARNING):
        assert stored.get(KEY, Sample) is None
    assert "`score`" in caplog.text
    assert "set aside" in caplog.text


def test_a_result_of_an_older_schema_is_set_aside(store):
    def of(number):
        @dataclass(frozen=True)
        class Result:
            schema: int = number

        return Result

    store.put(KEY, of(1)(), **ABOUT)
    told = []
    assert store.get(KEY, of(2), told.append) is None
    assert "must be of schema 2, got schema 1" in told[0]


def test_asking_for_another_class_is_an_error_and_leaves_the_result_alone(stored):
    with pytest.raises(CodecError, match="holds a Sample"):
        stored.get(KEY, Settings)
    assert stored.contains(KEY)


def test_an_entry_that_is_replaced_while_it_is_read_is_no_damage(stored, monkeypatch):
    read, told = sealed.read_files, []

    def interrupted(folder, manifest):
        monkeypatch.setattr(sealed, "read_files", read)
        stored.delete(KEY)
        stored.put(KEY, sample(9), **ABOUT)
        raise sealed.DamagedError("arrays.npz is missing")

    monkeypatch.setattr(sealed, "read_files", interrupted)
    assert same(stored.get(KEY, Sample, told.append), sample(9))
    assert not told


def test_a_sound_entry_that_appears_at_the_last_moment_is_not_set_aside(stored, monkeypatch):
    flip(folder_of(stored) / "arrays.npz")
    quarantine, told = Store._quarantine, []

    def late(self, path):
        monkeypatch.undo()
        stored.delete(KEY)
        stored.put(KEY, sample(9), **ABOUT)
        return quarantine(self, path)

    monkeypatch.setattr(Store, "_quarantine", late)
    assert same(stored.get(KEY, Sample, told.append), sample(9))
    assert not told
    assert stored.verify() == ()


def test_an_entry_without_manifest_makes_way_for_a_new_one(stored):
    (folder_of(stored) / "manifest.json").unlink()
    stored.put(KEY, sample(9), **ABOUT)
    assert same(stored.get(KEY, Sample), sample(9))
    assert problems(stored) == ["quarantined"]


@pytest.mark.parametrize(
    "bad", ["", "ab", "../" + KEY[3:], KEY.upper(), KEY + "\n", KEY + "0", "g" * 64, 3, None]
)
def test_a_key_that_is_no_digest_never_becomes_a_path(store, bad):
    for use in (
        lambda: store.put(bad, sample(), **ABOUT),
        lambda: store.get(bad, Sample),
        lambda: store.contains(bad),
        lambda: store.delete(bad),
        lambda: store.put_part(bad, "a", sample()),
        lambda: store.get_part(bad, "a", Sample),
        lambda: store.parts(bad),
        lambda: store.drop_parts(bad),
        lambda: store.name("configuration", "a", bad),
    ):
        with pytest.raises(StoreError, match="64 lower-case hexadecimal digits"):
            use()
    assert not store.root.exists()


def test_what_cannot_be_stored_leaves_nothing_behind(store):
    with pytest.raises(CodecError):
        store.put(KEY, Sample(np.arange(3)), **ABOUT)
    with pytest.raises(TypeError, match="canonical form"):
        store.put(KEY, sample(), step="s", inputs={}, options={"a": {1, 2}})
    assert not [p for p in store.root.rglob("*") if p.is_file()]
    assert not store.contains(KEY)


def test_the_root_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BITLENS_CACHE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("BITLENS_CACHE")
    assert default_root().parts[-2:] == ("cache", "data")
