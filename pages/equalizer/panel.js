// What stands around the columns: readout, legend, tools, the tooltip.

// A peak of which this much does not change with the bits is said to be so.
const MOSTLY = 0.5;
const LONG_UNIT = 9;
const CARD = 152; // least width of a card
const CARD_GAP = 12;

function make(tag, className, text, parent) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A number large, its unit small beside it.
function sayAmount(node, text) {
  if (node.dataset.text === text) return;
  node.dataset.text = text;
  const [, amount, unit] = /^([\d.,e−×∞]+)?(.*)$/.exec(text);
  node.replaceChildren(amount && unit ? amount : text);
  if (amount && unit) make("span", unit.length > LONG_UNIT ? "long" : "", unit, node);
}

function cardAt(cards, place) {
  while (cards.children.length <= place) {
    const card = make("div", "card", undefined, cards);
    for (const part of ["name", "value", "note"]) make(part === "name" ? "dt" : "dd", part, "", card);
  }
  return cards.children[place];
}

function drawCards(root, model, sums) {
  const cards = root.querySelector(".cards");
  const entries = [
    ["Size", `${significant(sums.sizeMiB, 4)} MiB`,
      `${percent(sums.sizeRatio)} of w8a8 · ${sums.compression.toFixed(1)}× below float`],
    ["BOPs", prefixed(sums.bops), `${percent(sums.bopsRatio)} of w8a8, per sample`],
    ["Average weight bits", sums.averageWeightBits.toFixed(2),
      `activations ${sums.averageActivationBits.toFixed(2)}, by MACs`],
    [predictionName(model), ...predictionWords(model, sums.predicted)],
    ...sums.budgets.map(budgetWords),
  ];
  if (!sums.budgets.length) {
    entries.push(["Budget", "none", "solve for a budget, or edit the bits by hand"]);
  }
  entries.forEach(([name, value, note, mood], place) => {
    const card = cardAt(cards, place);
    const [nameNode, valueNode, noteNode] = card.children;
    say(nameNode, name);
    sayAmount(valueNode, value);
    say(noteNode, note);
    card.dataset.mood = mood || "";
  });
  while (cards.children.length > entries.length) cards.lastChild.remove();
  // Rows of equal length: a card alone in a row would look lost.
  const fitting = Math.max(1, Math.floor((cards.clientWidth + CARD_GAP) / (CARD + CARD_GAP)));
  const rows = Math.ceil(entries.length / fitting);
  const across = `repeat(${Math.ceil(entries.length / rows)}, minmax(0, 1fr))`;
  if (cards.style.gridTemplateColumns !== across) cards.style.gridTemplateColumns = across;
}

// Scores in nats add up to a loss; others to what their metric counts.
function predictionName({ scores }) {
  return !scores || scores.unit === "nats" ? "Predicted loss increase" : `Predicted: ${scores.title}`;
}

function predictionWords(model, predicted) {
  const { scores, calibration } = model;
  if (!predicted) return ["no scores", "score the layers first"];
  const layers = predicted.missing === 1 ? "1 layer" : `${predicted.missing} layers`;
  if (predicted.missing) return ["unknown", `${layers} without a score at these bits`, "warn"];
  const note = [scores.n ? `scores of n = ${whole(scores.n)}` : "from the weights alone"];
  if (scores.pairs.length) note.push("with interactions");
  if (calibration && predicted.value > 0) {
    const kl = Math.exp(calibration.intercept + calibration.slope * Math.log(predicted.value));
    const outside = predicted.value < calibration.low || predicted.value > calibration.high;
    note.push(`KL ≈ ${significant(kl, 2)} nats, ×÷ ${calibration.factor.toFixed(1)}` +
      (outside ? ", beyond what was measured" : ""));
  } else if (!calibration) note.push("error unknown, too few measured");
  return [`${significant(predicted.value)} ${scores.unit}`, note.join(" · ")];
}

function budgetWords(budget) {
  const title = `Budget: ${budget.title} ≤ ${budget.text}`;
  if (budget.used === undefined) {
    return [title, "not followed", "known for the solver's answer only: solve again"];
  }
  const ratio = budget.unitName === "of w8a8";
  const unit = ratio ? "%" : budget.unitName;
  const text = (value) => `${significant(ratio ? 100 * value : value)} ${unit}`;
  const notes = [`${text(budget.used)}${ratio ? " of w8a8" : ""} used`];
  if (budget.solution && budget.note) notes.push(budget.note);
  if (budget.peak && budget.fixedShare >= MOSTLY) {
    notes.push(`${percent(budget.fixedShare, 0)} of it at 32 bits whatever is set`);
  }
  return [title, `${text(Math.abs(budget.left))} ${budget.kept ? "left" : "over"}`,
    notes.join(" · "), budget.kept ? "good" : "bad"];
}

function ghostWords(model, { weights, activations }) {
  const { sizeMiB, predicted } = totals(model, weights, activations);
  const known = predicted && !predicted.missing;
  const loss = known ? `, predicted ${significant(predicted.value)} ${model.scores.unit}` : "";
  return `${significant(sizeMiB, 4)} MiB${loss}`;
}

function drawLegend(root, state, colours, ghost) {
  const legend = root.querySelector(".legend");
  legend.replaceChildren();
  make("div", "head", colours ? colours.title : "no scores to colour by", legend);
  if (colours) {
    const scale = make("div", "scale", undefined, legend);
    const blocks = make("div", "blocks", undefined, scale);
    for (const colour of PALETTE.slice().reverse()) {
      make("i", "", undefined, blocks).style.background = colour;
    }
    const ends = make("div", "ends", undefined, scale);
    make("span", "", colours.text(colours.coding.high), ends);
    if (colours.logarithmic) make("span", "faint", "logarithmic", ends);
    make("span", "", colours.text(colours.coding.low), ends);
  }
  const line = (mark, text) => {
    const row = make("div", "row", undefined, legend);
    make("i", mark, undefined, row);
    make("span", "", text, row);
  };
  const { layers } = state.model;
  if (colours && layers.some((_, i) => colours.value(i) === undefined)) {
    line("unknown", "not scored at these bits");
  }
  if (ghost) line("dash", `${ghost.name}: ${ghostWords(state.model, ghost)}`);
  if (state.pins.size) line("triangle", `${state.pins.size} pinned`);
  if (state.ties.length) {
    const tied = state.ties.flat().length;
    line("band", `${tied} tied${state.ties.length > 1 ? `, in ${state.ties.length} ties` : ""}`);
  }
  line("pill", `share of ${state.role === "weights" ? "weights" : "MACs"}`);
}

function drawTip(root, state, colours, layer, box) {
  const tip = root.querySelector(".tip");
  tip.hidden = layer === null;
  if (layer === null) return;
  const info = state.model.layers[layer];
  tip.replaceChildren();
  make("b", "", info.name, tip);
  for (const part of describe(state, layer, colours).split(", ")) make("div", "", part, tip);
  make("div", "", `${whole(info.weights)} weights · ${prefixed(info.macs)} MACs`, tip);
  const frame = root.querySelector(".equalizer").getBoundingClientRect();
  const left = Math.min(Math.max(box.left + box.width / 2 - frame.left, 110), frame.width - 110);
  tip.style.left = `${left}px`;
  tip.style.top = `${box.top - frame.top + 30}px`;
}

function drawTools(root, state, choice) {
  const at = (name) => root.querySelector(`[data-do="${name}"]`);
  at("undo").disabled = !state.undo.length;
  at("redo").disabled = !state.redo.length;
  const several = state.selected.size > 1;
  const whom = several ? `${state.selected.size} selected` : "all";
  say(at("lower"), `−1 ${several ? `(${whom})` : whom}`);
  say(at("raise"), `+1 ${several ? `(${whom})` : whom}`);
  const menu = at("set");
  if (!menu.options.length) {
    menu.append(new Option("", ""));
    for (const format of state.model.formats) menu.append(new Option(format.name, format.name));
  }
  say(menu.options[0], `Set ${whom} to …`);
  menu.value = "";
  say(at("fit"), `Fit all ${state.model.layers.length}`);
  at("fit").hidden = !choice.fit && !choice.overflows;
  at("fit").setAttribute("aria-pressed", String(choice.fit));
  const colour = colourShown(state.model, choice.colour);
  for (const [name, value] of [["role", state.role], ["colour", colour]]) {
    for (const button of root.querySelectorAll(`[data-of="${name}"] button`)) {
      button.setAttribute("aria-pressed", String(button.dataset.value === value));
    }
  }
  const usable = colourable(state.model);
  const why = {
    scores: "Score the layers first",
    noise: "Score “Layer output SQNR” on the sensitivity page first",
  };
  for (const button of root.querySelectorAll('[data-of="colour"] button')) {
    button.disabled = !usable[button.dataset.value];
    button.title = button.disabled ? why[button.dataset.value] : "";
  }
}

function fillCompare(root, ghosts, chosen) {
  const menu = root.querySelector('[data-do="compare"]');
  const wanted = ["", ...ghosts.map((ghost) => ghost.name)];
  const shown = [...menu.options].map((option) => option.value);
  if (!shown.length || wanted.join("\n") !== shown.join("\n")) {
    menu.replaceChildren(new Option("Compare with …", ""));
    for (const ghost of ghosts) menu.append(new Option(ghost.name, ghost.name));
  }
  menu.value = wanted.includes(chosen) ? chosen : "";
  menu.disabled = !ghosts.length;
}
