// Layers that take one format together: those that a person tied, and those that read one tensor.
// `state.ties` are lists of places in order. They are replaced, never changed, so that what follows
// from them is worked out once.

const blocks = new WeakMap();

// For each layer the layers that lists which overlap bring together with it.
function joined(lists, count) {
  const found = Array.from({ length: count }, (_, i) => [i]);
  for (const list of lists) {
    const all = [...new Set(list.flatMap((i) => found[i]))].sort((a, b) => a - b);
    for (const i of all) found[i] = all;
  }
  return found;
}

function groupsOf({ layers }) {
  const groups = new Map();
  layers.forEach(({ group }, i) => groups.set(group, [...(groups.get(group) ?? []), i]));
  return [...groups.values()];
}

// The layers that share a layer's format: by ties its weights', by ties and groups its activation's.
function together(state, layer, role = state.role) {
  const { ties, model } = state;
  let known = blocks.get(ties);
  if (!known || known.layers !== model.layers) {
    const count = model.layers.length;
    known = {
      layers: model.layers,
      groups: joined(groupsOf(model), count),
      weights: joined(ties, count),
      activations: joined([...groupsOf(model), ...ties], count),
    };
    blocks.set(ties, known);
  }
  return known[role][layer];
}

const groupOf = (state, layer) => together(state, layer, "groups");
const tieOf = (state, layer) => state.ties.find((tie) => tie.includes(layer));

// A, B, ... Z, AA, AB, ...
function letters(place) {
  const rest = Math.floor(place / 26);
  return (rest ? letters(rest - 1) : "") + String.fromCharCode(65 + (place % 26));
}

function tieName(state, layer) {
  const place = state.ties.findIndex((tie) => tie.includes(layer));
  return place < 0 ? "" : letters(place);
}

// The tie that all these layers are in, if there is one.
function commonTie(state, layers) {
  const tie = tieOf(state, layers[0]);
  return tie && layers.every((i) => tie.includes(i)) ? tie : undefined;
}

// The ties with these layers tied; a layer that is tied brings its own along.
function tiesWith(state, layers) {
  const all = joined([...state.ties, layers], state.model.layers.length)[layers[0]];
  const rest = state.ties.filter((tie) => !all.includes(tie[0]));
  return [...rest, all].sort((one, other) => one[0] - other[0]);
}

// Why layers cannot be tied, empty where they can: pinned layers keep what they have.
function tieObstacle(state, layers) {
  if (layers.length < 2) return "Select several layers first: click with Shift or Ctrl";
  const tied = { ...state, ties: tiesWith(state, layers) };
  for (const role of ["weights", "activations"]) {
    const held = together(tied, layers[0], role).filter((i) => state.pins.has(i));
    const other = held.find((i) => state[role][i] !== state[role][held[0]]);
    if (other !== undefined) {
      const say = (i) => `${state.model.layers[i].name} (${state.model.formats[state[role][i]].name})`;
      return `${say(held[0])} and ${say(other)} are pinned to different ${role}: release one first`;
    }
  }
  return "";
}

// Ties layers, which take the formats of a pinned one, else those of the first; unties them where
// they are tied with each other already.
function toggleTie(state, layers) {
  const tie = commonTie(state, layers);
  if (tie) {
    state.ties = state.ties.filter((other) => other !== tie);
    return;
  }
  if (tieObstacle(state, layers)) return;
  state.ties = tiesWith(state, layers);
  for (const role of ["weights", "activations"]) {
    const all = together(state, layers[0], role);
    const source = all.find((i) => state.pins.has(i)) ?? layers[0];
    const code = state[role][source];
    for (const i of all) state[role][i] = code;
  }
}
