"""The bit equalizer in a real browser: every way to edit it, and what holds an edit."""

import pytest
from playwright.sync_api import expect

from tests.browser.equalizing import (
    bits,
    choose,
    columns,
    drag,
    echoed,
    press,
    table_of,
)
from tests.browser.server import Server
from tests.browser.watched import Tab

pytestmark = pytest.mark.browser


def test_keys_change_bits_move_between_layers_and_select(edited: Tab, server: Server) -> None:
    choose(edited, 2)
    press(edited, "ArrowDown", "ArrowDown", "ArrowRight", "4")
    assert bits(edited)[:5] == [8, 8, 6, 4, 8]
    press(edited, "Shift+ArrowRight", "ArrowUp")
    assert bits(edited)[:6] == [8, 8, 6, 5, 16, 8]
    press(edited, "Escape", "End", "ArrowLeft", "1", "6", "ArrowRight", "ArrowDown")
    assert bits(edited)[-2:] == [16, 8]
    press(edited, "Home", "ArrowDown")
    assert bits(edited)[0] == 8
    press(edited, "Control+a", "3")
    assert bits(edited) == [8, *[3] * (len(bits(edited)) - 2), 8]
    press(edited, "Control+z", "Control+z")
    assert bits(edited)[2:6] == [6, 5, 16, 8]
    press(edited, "Control+Shift+Z", "Control+y")
    assert set(bits(edited)[1:-1]) == {3}
    echoed(edited, server)
    assert not edited.errors


def test_dragging_moves_a_column_or_the_whole_selection_as_one_step(
    edited: Tab, server: Server
) -> None:
    drag(edited, 3, 5)
    assert bits(edited)[:5] == [8, 8, 8, 5, 8]
    choose(edited, 4)
    choose(edited, 6, modifiers=["Shift"])
    choose(edited, 9, modifiers=["ControlOrMeta"])
    drag(edited, 5, 4)
    assert bits(edited)[3:11] == [5, 4, 4, 4, 8, 8, 4, 8]
    edited.main.get_by_role("button", name="Undo").click()
    assert bits(edited)[3:11] == [5, 8, 8, 8, 8, 8, 8, 8]
    edited.main.get_by_role("button", name="Redo").click()
    assert bits(edited)[3:11] == [5, 4, 4, 4, 8, 8, 4, 8]
    echoed(edited, server)


def test_a_pinned_column_is_held_until_it_is_released(edited: Tab, server: Server) -> None:
    drag(edited, 0, 3)
    assert bits(edited)[0] == 8
    choose(edited, 0)
    edited.main.get_by_role("button", name="Release").click()
    choose(edited, 0)
    press(edited, "3")
    assert bits(edited)[0] == 3
    choose(edited, 5)
    press(edited, "5", "p", "ArrowDown")
    assert bits(edited)[5] == 5
    edited.main.get_by_role("button", name="−1 all").click()
    assert bits(edited)[5] == 5
    assert bits(edited)[4] == 7
    echoed(edited, server)


def test_activations_of_a_group_move_together_and_are_pointed_out(
    edited: Tab, server: Server
) -> None:
    table = table_of(server.store)
    group = next(names for names in table.groups.values() if len(names) > 1)
    places = [table.names.index(name) for name in group]
    edited.main.get_by_role("button", name="Activations", exact=True).click()
    choose(edited, places[0])
    press(edited, "4")
    found = bits(edited)
    assert [at for at, value in enumerate(found) if value == 4] == places
    expect(edited.main.locator(".column.mates")).to_have_count(len(places))
    edited.main.get_by_role("button", name="Weights", exact=True).click()
    assert set(bits(edited)) == {8}


def test_float_is_drawn_by_its_name_and_is_not_lost_by_steps(edited: Tab, server: Server) -> None:
    choose(edited, 4)
    choose(edited, 5, modifiers=["Shift"])
    edited.main.get_by_role("combobox", name="Set the format").select_option("float")
    assert bits(edited)[3:7] == [8, 32, 32, 8]
    assert columns(edited).nth(4).locator(".number").text_content() == "float"
    press(edited, "Escape")
    choose(edited, 9)
    edited.main.get_by_role("button", name="−1 all").click()
    assert bits(edited)[3:7] == [7, 32, 32, 7]
    echoed(edited, server)
