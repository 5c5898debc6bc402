// Keyboard and pointer: what a person does, as edits of the state.

const DIGIT_WAIT_MS = 700;
const DRAG_PIXELS = 3;

function onKey(app, event) {
  const { state } = app;
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (!/^\d$/.test(key)) app.typed = null;
  if (command && (key === "z" || key === "y")) {
    const forward = key === "y" || event.shiftKey;
    app.changed(forward ? redo(state) : undo(state));
  } else if (command && key === "a") {
    selectAll(state);
    app.changed(false);
  } else if (command || event.altKey) {
    return;
  } else if (key === "arrowup" || key === "arrowdown") {
    const steps = key === "arrowup" ? 1 : -1;
    app.changed(edit(state, () => shift(state, targets(state), steps)));
  } else if (["arrowleft", "arrowright", "home", "end"].includes(key)) {
    const last = state.model.layers.length - 1;
    const next = { arrowleft: state.focus - 1, arrowright: state.focus + 1, home: 0, end: last };
    select(state, next[key], { range: event.shiftKey });
    app.changed(false, { follow: true });
  } else if (key === "escape") {
    select(state, state.focus);
    app.changed(false);
  } else if (key === "p") {
    app.changed(edit(state, () => togglePins(state, targets(state))));
  } else if (key === "t") {
    tieTargets(app);
  } else if (/^\d$/.test(key)) {
    typeDigit(app, key);
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

// "4" is int4; "1" waits for a second digit, so that "16" is int16.
function typeDigit(app, digit) {
  const { state } = app;
  const now = performance.now();
  const first = app.typed && now - app.typed.at < DIGIT_WAIT_MS ? app.typed.digit : "";
  app.typed = { digit, at: now };
  const { formats, ladder } = state.model;
  const find = (text) => ladder.find((code) => formats[code].bits === Number(text));
  const code = find(first + digit) ?? find(digit);
  if (code === undefined) return;
  app.changed(edit(state, () => setAll(state, targets(state), code)));
}

function layerOf(target) {
  const column = target.closest ? target.closest("[data-layer]") : null;
  return column ? Number(column.dataset.layer) : null;
}

function onPointerDown(app, event) {
  const layer = layerOf(event.target);
  if (layer === null || event.button !== 0) return;
  const { state } = app;
  const add = event.ctrlKey || event.metaKey;
  const kept = state.selected.has(layer) && !add && !event.shiftKey;
  if (kept) state.focus = layer;
  else select(state, layer, { add, range: event.shiftKey });
  app.chart.columns[state.focus].group.focus({ preventScroll: true });
  app.drag = { layer, y: event.clientY, moved: false, kept, before: snapshot(state) };
  app.chart.svg.setPointerCapture(event.pointerId);
  app.changed(false);
  event.preventDefault();
}

function onPointerMove(app, event) {
  const { drag, state, chart } = app;
  if (!drag) {
    app.hover(layerOf(event.target));
    return;
  }
  if (!drag.moved && Math.abs(event.clientY - drag.y) < DRAG_PIXELS) return;
  drag.moved = true;
  const y = event.clientY - chart.svg.getBoundingClientRect().top;
  const { ladder, formats } = state.model;
  const start = drag.before[state.role][drag.layer];
  const goal = codeAt(chart, state, y);
  const rung = ladder.includes(start)
    ? ladder.indexOf(start)
    : ladder.findLastIndex((code) => formats[code].bits <= formats[start].bits);
  Object.assign(state, { weights: drag.before.weights.slice(),
    activations: drag.before.activations.slice() });
  const layers = targets(state);
  if (layers.length === 1) setAll(state, layers, goal);
  else shift(state, layers, ladder.indexOf(goal) - rung, drag.before);
  app.redraw();
}

function onPointerUp(app, event) {
  const { drag, state } = app;
  if (!drag) return;
  app.drag = null;
  if (event.type === "pointercancel") {
    Object.assign(state, drag.before);
    app.redraw();
    return;
  }
  if (!drag.moved && drag.kept) select(state, drag.layer);
  app.changed(drag.moved && remember(state, drag.before));
}

const ACTIONS = {
  undo: ({ state }) => undo(state),
  redo: ({ state }) => redo(state),
  lower: ({ state }) => edit(state, () => shift(state, everything(state), -1)),
  raise: ({ state }) => edit(state, () => shift(state, everything(state), 1)),
  pin: ({ state }) => edit(state, () => togglePins(state, targets(state))),
  reset: ({ state }) => edit(state, () => {
    const eight = state.model.formats.findIndex((format) => format.name === "int8");
    const all = state.model.layers.map((_, i) => i);
    setAll(state, all, eight, "weights");
    setAll(state, all, eight, "activations");
  }),
};

function tieTargets(app) {
  const { state } = app;
  const all = targets(state);
  const notice = commonTie(state, all) ? "" : tieObstacle(state, all);
  app.changed(edit(state, () => toggleTie(state, all)), { notice });
}

function onLink(app, event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab is the browser's own
  event.preventDefault();
  app.open("samples", Number(event.target.dataset.sample));
}

function onClick(app, event) {
  if (event.target.closest("a")) return onLink(app, event);
  const button = event.target.closest("button");
  if (!button) return;
  const { of } = button.parentElement.dataset;
  const name = button.dataset.do;
  if (of === "role") app.state.role = button.dataset.value;
  else if (of === "colour") app.choice.colour = button.dataset.value;
  else if (name === "fit") app.choice.fit = !app.choice.fit;
  else if (name === "open") return app.open("distributions");
  else if (name === "tie") return tieTargets(app);
  app.changed(ACTIONS[name] ? ACTIONS[name](app) : false);
}

function onChoice(app, event) {
  const { value } = event.target;
  const { state } = app;
  if (event.target.dataset.do === "compare") {
    app.choice.compare = value;
    app.changed(false);
  } else if (value) {
    const code = state.model.formats.findIndex((format) => format.name === value);
    app.changed(edit(state, () => setAll(state, everything(state), code)));
  }
}

// Listens until the signal is given.
function listen(app, root, signal) {
  const { svg, scroll } = app.chart;
  const on = (target, name, react, options = {}) =>
    target.addEventListener(name, react, { signal, ...options });
  on(svg, "keydown", (event) => onKey(app, event));
  on(svg, "pointerdown", (event) => onPointerDown(app, event));
  on(svg, "pointermove", (event) => onPointerMove(app, event));
  on(svg, "pointerup", (event) => onPointerUp(app, event));
  on(svg, "pointercancel", (event) => onPointerUp(app, event));
  on(svg, "pointerleave", () => app.hover(null));
  on(svg, "focusin", (event) => {
    const layer = layerOf(event.target);
    if (layer === null || app.drag || layer === app.state.focus) return;
    select(app.state, layer);
    app.changed(false);
  });
  on(root, "click", (event) => onClick(app, event));
  on(root, "change", (event) => onChoice(app, event));
  on(root, "keydown", (event) => {
    const target = event.target.tagName;
    const command = event.ctrlKey || event.metaKey;
    const history = command && ["z", "y"].includes(event.key.toLowerCase());
    if (history && target !== "SELECT") onKey(app, event);
  });
  on(document, "click", (event) => app.hold(event), { capture: true });
  const observer = new ResizeObserver(() => app.redraw());
  observer.observe(scroll);
  signal.addEventListener("abort", () => observer.disconnect());
}
