"""The README says what is so."""

import re
from pathlib import Path

from analysis.methods_table import methods_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_methods_is_the_one_the_registries_give():
    shown = re.search(r"<!-- methods:.*?-->\n(.*?)<!-- /methods -->", README, re.DOTALL)
    assert shown is not None
    assert shown[1] == methods_table()


def test_every_command_of_the_demo_path_parses():
    from analysis.cli.parser import parse

    commands = re.findall(r"^python -m analysis (.*)$", README, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        assert parse(command.split())


def test_the_five_lines_of_library_use_run(tmp_path, monkeypatch):
    monkeypatch.setenv("BITLENS_CACHE", str(tmp_path))
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {}
    exec(compile(code[1], "README.md", "exec"), names)
    assert names["scores"].values.shape == (16, 5)


def test_every_file_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
