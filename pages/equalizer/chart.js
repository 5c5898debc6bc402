// The columns, drawn once and then only where something changed.

const SVG = "http://www.w3.org/2000/svg";
const TOP = 40;
const PLOT = 288;
const BASE = TOP + PLOT;
const MARKS = 18;
const TIE_MARKS = 19;
const AXIS = 44;
const NARROWEST = 20;
const NARROW = 8; // outlines would cover the colours of narrower columns
const LONGEST_LABEL = 17;

function draw(tag, attributes = {}, parent = null, text = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
}

// What a label can do without: names of 200 layers often begin alike.
function shortName(name) {
  return name.length > LONGEST_LABEL ? `…${name.slice(1 - LONGEST_LABEL)}` : name;
}

function createChart(root) {
  const axis = root.querySelector(".axis");
  const scroll = root.querySelector(".scroll");
  const svg = root.querySelector(".columns");
  svg.replaceChildren();
  const chart = { axis, scroll, svg, grid: draw("g", {}, svg), columns: [], width: 0, fit: false };
  return chart;
}

function buildColumns(chart, model) {
  for (const column of chart.columns) column.group.remove();
  // Labels hang at 48 degrees from their column: down and to the right.
  const lengths = model.layers.map((layer) => 6.2 * shortName(layer.name).length);
  chart.labels = Math.ceil(0.75 * Math.max(...lengths));
  const past = (width, i) => 0.7 * width - 9 * (lengths.length - 1 - i);
  chart.tail = Math.ceil(Math.max(...lengths.map(past), 8));
  const most = Math.max(...model.layers.map((layer) => layer.weights), 1);
  const mostMacs = Math.max(...model.layers.map((layer) => layer.macs), 1);
  chart.columns = model.layers.map((layer, i) => {
    const group = draw("g", { class: "column", "data-layer": i, role: "slider", tabindex: -1,
      "aria-label": layer.name, "aria-orientation": "vertical" }, chart.svg);
    return {
      group,
      back: draw("rect", { class: "back", y: 4 }, group),
      bar: draw("rect", { class: "fill", rx: 3 }, group),
      cap: draw("rect", { class: "cap", height: 5, rx: 2 }, group),
      ghost: draw("line", { class: "ghost" }, group),
      number: draw("text", { class: "number" }, group),
      pin: draw("path", { class: "pin" }, group),
      tie: draw("rect", { class: "tie", y: BASE + MARKS, height: 15 }, group),
      letter: draw("text", { class: "letter" }, group),
      label: draw("text", { class: "label" }, group, shortName(layer.name)),
      share: draw("rect", { class: "share", height: 6, rx: 3 }, group),
      parts: { weights: layer.weights / most, activations: layer.macs / mostMacs },
    };
  });
}

// The bits of the axis: all up to 8, and what is used above.
function axisBits(state, ghost) {
  const { formats, ladder } = state.model;
  const used = [...state[state.role], ...(ghost ? ghost[state.role] : [])];
  const above = used.map((code) => formats[code].bits).filter((bits) => bits > 8);
  const rungs = ladder.map((code) => formats[code].bits).filter((bits) => bits <= 8);
  return [...new Set([...rungs, ...above])].sort((a, b) => a - b);
}

function placeOf(chart, bits) {
  return BASE - (PLOT * height(bits)) / chart.top;
}

function drawFrame(chart, state, ghost) {
  const ticks = axisBits(state, ghost);
  chart.top = Math.max(height(ticks[ticks.length - 1]), 8) + 0.15;
  const key = `${ticks} ${state.role} ${chart.width} ${chart.height}`;
  if (key === chart.frame) return;
  chart.frame = key;
  chart.axis.replaceChildren();
  chart.grid.replaceChildren();
  set(chart.axis, { width: AXIS, height: chart.height, viewBox: `0 0 ${AXIS} ${chart.height}` });
  for (const bits of [0, ...ticks]) {
    const y = placeOf(chart, bits);
    draw("line", { class: bits ? "line" : "base", x1: 0, x2: chart.width, y1: y, y2: y },
      chart.grid);
    const name = bits === 32 ? "float" : String(bits);
    if (bits) draw("text", { class: "tick", x: AXIS - 8, y: y + 4 }, chart.axis, name);
  }
  if (ticks[ticks.length - 1] > 8) {
    const y = placeOf(chart, 8) - 7;
    draw("path", { class: "break", d: `M${AXIS - 5} ${y}l5 -3m-5 6l5 -3` }, chart.axis);
  }
  const middle = (TOP + BASE) / 2;
  draw("text", { class: "title", transform: `translate(12 ${middle}) rotate(-90)` }, chart.axis,
    `${state.role === "weights" ? "weight" : "activation"} bits`);
  draw("text", { class: "tick", x: AXIS - 8, y: chart.share + 4 }, chart.axis, "share");
}

function layOut(chart, state) {
  const count = state.model.layers.length;
  chart.marks = MARKS + (state.ties.length ? TIE_MARKS : 0);
  chart.share = BASE + chart.marks + 22 + chart.labels;
  chart.height = chart.share + 16;
  const room = Math.max(chart.scroll.clientWidth - chart.tail - 2, 120);
  chart.step = chart.fit ? room / count : Math.min(Math.max(room / count, NARROWEST), 110);
  chart.width = Math.max(Math.ceil(chart.step * count + chart.tail), chart.scroll.clientWidth);
  chart.every = Math.max(1, Math.ceil(18 / chart.step));
  const narrow = chart.step < NARROW ? " narrow" : "";
  set(chart.svg, { class: `columns${narrow}`, width: chart.width, height: chart.height,
    viewBox: `0 0 ${chart.width} ${chart.height}` });
}

function drawColumns(chart, state, ghost, colours) {
  layOut(chart, state);
  drawFrame(chart, state, ghost);
  const group = groupOf(state, state.focus);
  const tie = tieOf(state, state.focus) ?? [];
  chart.columns.forEach((column, i) => {
    const mates = group.length > 1 && group.includes(i);
    drawColumn(chart, state, column, i, { ghost, colours, mates, bound: tie.includes(i) });
    drawTie(chart, state, column, i);
  });
}

// A band under tied layers, joined where they stand side by side, with the letter of the tie.
function drawTie(chart, state, column, i) {
  const { step } = chart;
  const name = tieName(state, i);
  set(column.tie, { class: name ? "tie" : "tie out" });
  set(column.letter, { class: name && step >= 11 ? "letter" : "letter out" });
  if (!name) return;
  const gap = columnGap(step);
  const joins = name === tieName(state, i + 1);
  set(column.tie, { x: i * step + gap / 2, width: joins ? step : step - gap });
  set(column.letter, { x: (i + 0.5) * step, y: BASE + MARKS + 12 });
  if (column.letter.textContent !== name) column.letter.textContent = name;
}

const columnGap = (step) => Math.min(8, step * 0.16);

function drawColumn(chart, state, column, i, { ghost, colours, mates, bound }) {
  const { formats } = state.model;
  const format = formats[state[state.role][i]];
  const step = chart.step;
  const gap = columnGap(step);
  const x = i * step;
  const y = placeOf(chart, format.bits);
  const inner = { x: x + gap / 2, width: Math.max(step - gap, 1) };
  const middle = x + step / 2;
  const shade = colours ? colourStep(colours.value(i), colours.coding) : 4;
  const focused = i === state.focus;
  const selected = state.selected.has(i);
  set(column.group, {
    class: `column${focused ? " focused" : ""}${selected ? " selected" : ""}` +
      `${mates ? " mates" : ""}${bound ? " bound" : ""}${shade < 0 ? " unscored" : ""}${isHeld(state, i) ? " held" : ""}`,
    tabindex: focused ? 0 : -1,
    "aria-valuemin": 0,
    "aria-valuemax": 32,
    "aria-valuenow": format.bits,
    "aria-valuetext": describe(state, i, colours),
    "aria-readonly": isHeld(state, i),
  });
  set(column.back, { x, width: step, height: chart.share + 6 });
  set(column.bar, { ...inner, y, height: BASE - y, fill: PALETTE[Math.max(shade, 0)] });
  set(column.cap, { ...inner, y: y - 2 });
  const text = format.name.replace(/^int/, "");
  const upright = text.length > 2 && text.length * 8 > step;
  const shown = step >= 11 || focused || selected;
  set(column.number, {
    transform: `translate(${middle + (upright ? 4 : 0)} ${y - 8})${upright ? " rotate(-90)" : ""}`,
    class: `number${upright ? " upright" : ""}${shown ? "" : " out"}`,
  });
  if (column.number.textContent !== text) column.number.textContent = text;
  const half = Math.min(5, Math.max(3.5, step / 2.6));
  const pinned = state.pins.has(i);
  set(column.pin, { class: pinned ? "pin" : "pin out",
    d: `M${middle - half} ${BASE + 13}h${2 * half}l${-half} ${-1.6 * half}z` });
  const near = Math.abs(i - state.focus) < chart.every;
  const labelled = focused || (i % chart.every === 0 && !near);
  set(column.label, { class: labelled ? "label" : "label out",
    transform: `translate(${middle - 3} ${BASE + chart.marks + 8}) rotate(48)` });
  const part = Math.max(column.parts[state.role] * inner.width, 2);
  set(column.share, { x: middle - part / 2, width: part, y: chart.share - 3 });
  const other = ghost ? formats[ghost[state.role][i]] : null;
  const at = other ? placeOf(chart, other.bits) : 0;
  set(column.ghost, { class: other ? "ghost" : "ghost out", x1: x + gap / 4, x2: x + step - gap / 4,
    y1: at, y2: at });
}

function describe(state, i, colours) {
  const { formats } = state.model;
  const parts = [
    `${formats[state.weights[i]].name} weights`,
    `${formats[state.activations[i]].name} activations`,
  ];
  const value = colours ? colours.value(i) : undefined;
  if (value !== undefined) parts.push(`${colours.title} ${colours.text(value)}`);
  if (state.pins.has(i)) parts.push("pinned");
  if (tieName(state, i)) parts.push(`tie ${tieName(state, i)}`);
  if (state.selected.has(i)) parts.push("selected");
  return parts.join(", ");
}

// Which format of the ladder a height in the chart belongs to.
function codeAt(chart, state, y) {
  const { formats, ladder } = state.model;
  const off = (code) => Math.abs(placeOf(chart, formats[code].bits) - y);
  const reachable = ladder.filter((code) => placeOf(chart, formats[code].bits) > TOP - 4);
  return reachable.reduce((best, code) => (off(code) < off(best) ? code : best));
}

function reveal(chart, layer) {
  const left = layer * chart.step;
  const { scrollLeft, clientWidth } = chart.scroll;
  if (left < scrollLeft) chart.scroll.scrollLeft = left - chart.step;
  else if (left + chart.step > scrollLeft + clientWidth) {
    chart.scroll.scrollLeft = left + 2 * chart.step - clientWidth;
  }
}
