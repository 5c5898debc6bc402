from threading import Thread

import pytest
from stored_samples import ABOUT, KEY, OTHER, Sample, same, sample

from cache import files
from cache.errors import CodecError
from cache.remembering import RememberingStore
from cache.store import Store


@pytest.fixture
def store(tmp_path):
    return RememberingStore(tmp_path / "store")


def folder_of(store, key=KEY):
    return store.root / "v1" / key[:2] / key


def test_what_was_read_is_read_from_disk_once(store, monkeypatch):
    store.put(KEY, sample(), **ABOUT)
    first = store.get(KEY, Sample)
    assert same(first, sample())
    monkeypatch.setattr(Store, "get", None)
    assert store.get(KEY, Sample) is first


def test_what_was_removed_or_replaced_by_another_is_not_remembered(store):
    store.put(KEY, sample(), **ABOUT)
    assert store.get(KEY, Sample) is not None
    other = Store(store.root)
    other.delete(KEY)
    assert store.get(KEY, Sample) is None
    other.put(KEY, sample(5, "new"), **ABOUT)
    assert same(store.get(KEY, Sample), sample(5, "new"))


def test_what_is_not_there_yet_is_found_later(store):
    assert store.get(KEY, Sample) is None
    store.put(KEY, sample(), **ABOUT)
    assert same(store.get(KEY, Sample), sample())


def test_another_class_is_refused_as_without_memory(store):
    store.put(KEY, sample(), **ABOUT)
    store.get(KEY, Sample)
    with pytest.raises(CodecError, match="asked for"):
        store.get(KEY, Store)


def test_the_oldest_reading_is_let_go_beyond_the_limit(tmp_path):
    plain = Store(tmp_path)
    plain.put(KEY, sample(), **ABOUT)
    plain.put(OTHER, sample(), **ABOUT)
    size = files.size(folder_of(plain))
    store = RememberingStore(tmp_path, limit=int(1.5 * size))
    first = store.get(KEY, Sample)
    assert store.get(KEY, Sample) is first
    second = store.get(OTHER, Sample)
    assert store.get(OTHER, Sample) is second
    assert store.get(KEY, Sample) is not first
    assert store._memory.total == size


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    store = RememberingStore(tmp_path, limit=10)
    store.put(KEY, sample(), **ABOUT)
    assert store.get(KEY, Sample) is not store.get(KEY, Sample)
    assert store._memory.total == 0


def test_threads_that_read_and_delete_agree_on_what_is_kept(store):
    def work():
        for _ in range(40):
            store.put(KEY, sample(), **ABOUT)
            found = store.get(KEY, Sample)
            assert found is None or same(found, sample())
            store.delete(KEY)

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(KEY, Sample) is None
    assert store._memory.total == sum(size for _, size, _ in store._memory.records.values()) == 0


def test_a_store_of_one_root_equals_another_whatever_was_read(store):
    store.put(KEY, sample(), **ABOUT)
    store.get(KEY, Sample)
    assert store == RememberingStore(store.root)
