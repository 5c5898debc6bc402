// The state of the equalizer and every way to change it. Nothing here knows the page.

const UNDO_DEPTH = 500;

function createState(model, start) {
  return {
    model,
    weights: start.weights.slice(),
    activations: start.activations.slice(),
    pins: new Set(start.pins),
    ties: start.ties,
    role: "weights",
    focus: 0,
    selected: new Set(),
    anchor: 0,
    undo: [],
    redo: [],
    seq: 0,
  };
}

function snapshot(state) {
  const { weights, activations, pins, ties } = state;
  return { weights: weights.slice(), activations: activations.slice(), pins: new Set(pins), ties };
}

function sameSnapshot(one, other) {
  return (
    one.weights.every((code, i) => code === other.weights[i]) &&
    one.activations.every((code, i) => code === other.activations[i]) &&
    one.pins.size === other.pins.size &&
    [...one.pins].every((i) => other.pins.has(i)) &&
    String(one.ties.map((tie) => `${tie};`)) === String(other.ties.map((tie) => `${tie};`))
  );
}

// Runs an edit as one step of the history; tells whether it changed anything.
function edit(state, change) {
  const before = snapshot(state);
  change();
  return remember(state, before);
}

function remember(state, before) {
  if (sameSnapshot(before, snapshot(state))) return false;
  state.undo.push(before);
  if (state.undo.length > UNDO_DEPTH) state.undo.shift();
  state.redo = [];
  state.seq += 1;
  return true;
}

function travel(state, from, to) {
  if (!from.length) return false;
  to.push(snapshot(state));
  Object.assign(state, from.pop());
  state.seq += 1;
  return true;
}

const undo = (state) => travel(state, state.undo, state.redo);
const redo = (state) => travel(state, state.redo, state.undo);

// Pins hold a layer's own formats, and with them those of every layer that shares one.
function isHeld(state, layer, role = state.role) {
  return together(state, layer, role).some((i) => state.pins.has(i));
}

function assign(state, layer, code, role = state.role) {
  if (code === undefined || isHeld(state, layer, role)) return;
  for (const i of together(state, layer, role)) state[role][i] = code;
}

// The format `steps` rungs away. A format beside the ladder (fp8, float) is left where it is when
// several layers move, and goes to the nearest rung when it is moved alone.
function moved(state, code, steps, alone) {
  const { ladder, formats } = state.model;
  const at = ladder.indexOf(code);
  if (at >= 0) return ladder[Math.min(Math.max(at + steps, 0), ladder.length - 1)];
  if (!alone || !steps) return code;
  const { bits } = formats[code];
  const rungs = ladder.filter((c) => (steps < 0 ? formats[c].bits < bits : formats[c].bits > bits));
  return (steps < 0 ? rungs[rungs.length - 1] : rungs[0]) ?? code;
}

// The layers that an edit acts on: the selection where the focus is part of it.
function targets(state) {
  return state.selected.has(state.focus) ? [...state.selected] : [state.focus];
}

function everything(state) {
  return state.selected.size > 1 ? [...state.selected] : state.model.layers.map((_, i) => i);
}

// Moves layers from the formats they have in `from`; those that share one move once.
function shift(state, layers, steps, from = snapshot(state)) {
  const done = new Set();
  for (const layer of layers) {
    if (done.has(layer)) continue;
    for (const i of together(state, layer)) done.add(i);
    assign(state, layer, moved(state, from[state.role][layer], steps, layers.length === 1));
  }
}

function setAll(state, layers, code, role = state.role) {
  for (const layer of layers) assign(state, layer, code, role);
}

function togglePins(state, layers) {
  const held = layers.every((i) => state.pins.has(i));
  for (const i of layers) held ? state.pins.delete(i) : state.pins.add(i);
}

function select(state, layer, { add = false, range = false } = {}) {
  const last = state.model.layers.length - 1;
  layer = Math.min(Math.max(layer, 0), last);
  if (range) {
    const [low, high] = [Math.min(state.anchor, layer), Math.max(state.anchor, layer)];
    state.selected = new Set(Array.from({ length: high - low + 1 }, (_, i) => low + i));
  } else if (add) {
    if (!state.selected.size) state.selected.add(state.focus);
    if (state.selected.has(layer) && state.selected.size > 1) {
      state.selected.delete(layer);
      layer = [...state.selected].pop();
    } else state.selected.add(layer);
    state.anchor = layer;
  } else {
    state.selected = new Set();
    state.anchor = layer;
  }
  state.focus = layer;
}

function selectAll(state) {
  state.selected = new Set(state.model.layers.map((_, i) => i));
}

// Takes over what the server says; what was here stays one undo away.
function adopt(state, start) {
  const before = snapshot(state);
  state.weights = start.weights.slice();
  state.activations = start.activations.slice();
  state.pins = new Set(start.pins);
  state.ties = start.ties;
  remember(state, before);
}
