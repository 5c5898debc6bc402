"""The store as the command line sees it: listed, checked, cleared, damaged, left alone."""

import pytest

from tests.analysis.cli_studies import make_lab, say


@pytest.fixture
def fresh(tmp_path):
    return make_lab(tmp_path)


def test_the_store_is_listed_checked_and_cleared(fresh):
    fresh.json("score", "--metric", "output_kl", "--candidates", "w4a8")
    listed = say("cache", "ls", "--json", *fresh.store).json
    assert {entry["step"] for entry in listed["entries"]} >= {"study", "layers", "score"}
    assert listed["size_bytes"] == sum(entry["size_bytes"] for entry in listed["entries"])
    assert say("cache", "verify", "--json", *fresh.store).json["problems"] == []

    damaged = next((fresh.folder / "store" / "v1").glob("*/*/record.json"))
    damaged.write_bytes(b"{}")
    problems = say("cache", "verify", "--json", *fresh.store).json["problems"]
    assert [problem["kind"] for problem in problems] == ["damaged"]

    assert say("cache", "clear", "--older-than", "7d", "--json", *fresh.store).json == {
        "path": str(fresh.folder / "store"),
        "freed_bytes": 0,
        "entries_left": len(listed["entries"]),
    }
    cleared = say("cache", "clear", "--json", *fresh.store).json
    assert cleared["freed_bytes"] > 0
    left = {e["step"] for e in say("cache", "ls", "--json", *fresh.store).json["entries"]}
    assert "statistics" not in left


def test_a_damaged_result_is_computed_again_with_a_message(fresh):
    words = ("score", "--metric", "output_kl", "--candidates", "w4a8")
    first = fresh.json(*words)
    for entry in say("cache", "ls", "--json", *fresh.store).json["entries"]:
        if entry["step"] == "score":
            key = entry["key"]
            (fresh.folder / "store" / "v1" / key[:2] / key / "arrays.npz").write_bytes(b"")
    said = fresh(*words, "--json")
    assert "will be computed again" in said.err
    assert said.json["values"] == first["values"]
    assert said.json["cached"] is False


def test_no_cache_keeps_nothing(fresh, monkeypatch):
    monkeypatch.setenv("BITLENS_CACHE", str(fresh.folder / "store"))
    said = say("evaluate", *fresh.study, "--no-cache", "--json")
    assert said.json["n"] == 30
    assert not (fresh.folder / "store").exists()
