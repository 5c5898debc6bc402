// The selected layer in words: what it has, what it shares, what a step down would change.

// The rank of a layer by what its next step down costs, 1 for the costliest; a tie is one.
function rankOfStep(state, cost) {
  const { model, weights, activations } = state;
  const units = model.layers
    .map((_, i) => together(state, i, "weights"))
    .filter((unit, i) => unit[0] === i);
  const costs = units.map((unit) => stepDown(model, weights, activations, unit)?.cost);
  const known = costs.filter((c) => c !== null && c !== undefined);
  return [1 + known.filter((c) => c > cost).length, known.length];
}

// Some layers by name, few enough to read.
function namesOf(model, places) {
  const named = places.slice(0, 3).map((i) => model.layers[i].name).join(", ");
  return places.length > 3 ? `${named} and ${places.length - 3} more` : named;
}

function drawDetail(root, state, notice) {
  const { model, focus, weights, activations } = state;
  const detail = root.querySelector(".detail");
  const layer = model.layers[focus];
  const { formats } = model;
  detail.replaceChildren();
  const text = make("div", "text", undefined, detail);
  const fact = (content, className = "") => make("span", `fact ${className}`, content, text);
  fact(layer.name, "name");
  if (notice) fact(notice, "strong");
  if (state.selected.size > 1) fact(`one of ${state.selected.size} selected`);
  const total = model.layers.reduce((sum, other) => sum + other.weights, 0);
  fact(`${formats[weights[focus]].name} weights, ${formats[activations[focus]].name} activations`);
  fact(`${whole(layer.weights)} weights (${percent(layer.weights / total)})`);
  fact(`${prefixed(layer.macs)} MACs`);
  const others = (places) => places.filter((i) => i !== focus);
  const tie = tieOf(state, focus);
  if (tie) fact(`tie ${tieName(state, focus)}, with ${namesOf(model, others(tie))}`);
  const mates = others(groupOf(state, focus));
  fact(mates.length
    ? `shares its activation bits with ${namesOf(model, mates)}`
    : "shares its activation with no other layer");
  const step = stepDown(model, weights, activations, together(state, focus, "weights"));
  if (step) fact(stepWords(state, step));
  else fact("at the fewest bits");
  const holder = together(state, focus).find((i) => state.pins.has(i));
  if (state.pins.has(focus)) fact("pinned: release it to edit it", "strong");
  else if (holder !== undefined) {
    const what = state.role === "weights" ? "" : "activation ";
    fact(`${what}held by ${model.layers[holder].name}, which is pinned`, "strong");
  }
  drawHardest(fact, layer);
  drawButtons(detail, state);
}

// Links to the samples that the layer's rounding hurts most.
function drawHardest(fact, layer) {
  if (!layer.hardest.length) return;
  const place = fact("hardest samples: ");
  layer.hardest.forEach(({ number, label }, at) => {
    if (at) place.append(", ");
    const link = make("a", "", `#${number}${label ? ` (${label})` : ""}`, place);
    const query = new URLSearchParams(location.search);
    query.set("layer", layer.name);
    query.set("sample", number);
    link.href = `samples?${query}`;
    link.dataset.sample = number;
  });
}

function drawButtons(detail, state) {
  const buttons = make("div", "buttons", undefined, detail);
  const button = (name, label, title) => {
    const made = make("button", "", label, buttons);
    made.dataset.do = name;
    made.title = title;
  };
  const all = targets(state);
  const several = all.length > 1 ? ` ${all.length} layers` : "";
  const pinned = all.every((i) => state.pins.has(i));
  const tie = commonTie(state, all);
  button("pin", `${pinned ? "Release" : "Pin"}${several}`, "P: hold these formats");
  button("tie", tie ? `Untie ${tieName(state, all[0])}` : `Tie${several}`,
    "T: tied layers take one format, weights and activations alike");
  button("open", "Distributions", "Open the distributions of this layer");
}

function stepWords(state, step) {
  const { model } = state;
  const saved = `${step.savedBits >= 0 ? "saves" : "adds"} ${bytes(step.savedBits)}`;
  const { length } = together(state, state.focus, "weights");
  const whose = length > 1 ? ` in ${length > 2 ? `all ${length}` : "both"} tied layers` : "";
  const start = `${model.formats[step.code].name} instead${whose} ${saved}`;
  if (step.cost === null) return model.scores ? `${start}; its cost is not scored` : start;
  const [rank, count] = rankOfStep(state, step.cost);
  const verb = step.cost >= 0 ? "costs" : "gains";
  return `${start} and ${verb} ${significant(Math.abs(step.cost), 2)} ${model.scores.unit} ` +
    `predicted (rank ${rank} of ${count})`;
}
