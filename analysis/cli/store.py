"""The step ``cache``: what is stored."""

import re
from pathlib import Path

from analysis.cli.output import show, table
from analysis.cli.parser import Call
from cache.layout import default_root
from cache.store import Store

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def cache(call: Call) -> None:
    """List, check or clear the store."""
    args = call.args
    if args.older_than is not None and args.action != "clear":
        call.refuse("`--older-than` belongs to `cache clear`.")
    age = None if args.older_than is None else _seconds(call, args.older_than)
    root = default_root() if args.cache_dir is None else Path(args.cache_dir).expanduser()
    store = Store(root)
    if args.action == "ls":
        _list(store, args.json)
    elif args.action == "verify":
        _verify(store, args.json)
    else:
        freed = store.clear(age)
        left = len(store.entries())
        data = {"path": str(root), "freed_bytes": freed, "entries_left": left}
        text = f"freed {freed / 2**20:.2f} MiB in {root}; {left} results are left"
        show(args.json, data, text + " (those with a name are kept)." if left else text + ".")


def _list(store: Store, as_json: bool) -> None:
    entries = store.entries()
    total = sum(entry.size_bytes for entry in entries)
    data = {
        "path": str(store.root),
        "size_bytes": total,
        "entries": [
            {
                "key": e.key,
                "step": e.step,
                "record": e.record,
                "created": e.created.isoformat(),
                "size_bytes": e.size_bytes,
            }
            for e in entries
        ],
    }
    rows = [
        (e.key[:12], e.step, f"{e.created:%Y-%m-%d %H:%M:%S}", f"{e.size_bytes / 1024:.1f}")
        for e in entries
    ]
    lines = [table(("key", "step", "created (UTC)", "KiB"), rows, "<<<>"), ""] if rows else []
    lines.append(f"{len(rows)} results, {total / 2**20:.2f} MiB in {store.root}")
    show(as_json, data, "\n".join(lines))


def _verify(store: Store, as_json: bool) -> None:
    problems = store.verify()
    data = {
        "path": str(store.root),
        "problems": [{"kind": p.kind, "path": p.path, "text": p.text} for p in problems],
    }
    lines = [f"{p.kind}: {p.path}: {p.text}" for p in problems]
    lines.append(f"{len(problems)} problems in {store.root}")
    show(as_json, data, "\n".join(lines))


def _seconds(call: Call, text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if match is None:
        call.refuse(f"`--older-than` must look like `7d` (s, m, h, d or w), got `{text}`.")
    return float(match[1]) * _SECONDS[match[2]]
