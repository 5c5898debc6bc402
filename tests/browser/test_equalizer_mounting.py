"""The equalizer is unmounted and mounted again where it was, as a busy page may do."""

from pathlib import Path

import pytest

from analysis.allocation_file import uniform_allocation
from analysis.records import Candidate
from pages.equalizer import Start, component, payload
from pages.equalizer.component import script
from tests.browser.equalizing import table_of
from tests.browser.server import Server
from tests.browser.watched import Tab

pytestmark = pytest.mark.browser

MOUNTED_TWICE = """async ([script, html, data]) => {
  const module = script.replace('export default function', 'function');
  const equalizer = new Function(`${module}; return equalizer;`)();
  const root = document.createElement('div');
  root.innerHTML = html;
  document.body.append(root);
  const sent = [], seen = {};
  const mount = () => equalizer({
    parentElement: root, data, setStateValue: (_, value) => sent.push(value),
    setTriggerValue: () => {} });
  const columns = () => [...root.querySelectorAll('.columns .column')];
  const look = (name) => seen[name] = columns().map(
    (each) => Number(each.getAttribute('aria-valuenow')));
  const press = (key) => columns()[3].dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true }));
  let stop = mount();
  columns()[3].dispatchEvent(new FocusEvent('focusin', { bubbles: true }));
  press('ArrowDown');
  look('edited');
  stop();
  stop = mount();
  look('mounted again');
  await new Promise((resolve) => setTimeout(resolve, 400));
  seen.sent = sent.at(-1).weights.map((code) => data.formats[code].bits);
  press('ArrowDown');
  look('edited again');
  stop();
  press('ArrowDown');
  look('unmounted');
  root.innerHTML = html;
  stop = mount();
  look('in other elements');
  const pressed = root.querySelector('[data-of="colour"] [aria-pressed="true"]');
  stop();
  return [seen, pressed.dataset.value];
}"""


def test_mounted_again_it_goes_on_with_one_column_a_layer_and_one_answer_to_a_key(
    server: Server, tab: Tab
) -> None:
    table = table_of(server.store)
    start = Start(uniform_allocation(table, Candidate.parse("w8a8")), (), (), 0)
    html = (Path(component.__file__).parent / "equalizer.html").read_text(encoding="utf-8")
    tab.page.goto("about:blank")
    seen, colour = tab.page.evaluate(MOUNTED_TWICE, [script(), html, payload(table, start)])
    assert {name: len(bits) for name, bits in seen.items()} == dict.fromkeys(
        seen, len(table.layers)
    )
    assert {name: bits[3] for name, bits in seen.items()} == {
        "edited": 7,
        "mounted again": 7,
        "sent": 7,
        "edited again": 6,
        "unmounted": 6,
        "in other elements": 8,
    }
    assert colour == "share"  # there are no scores to colour by
