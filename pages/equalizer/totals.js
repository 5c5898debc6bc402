// What an allocation costs and what scores predict of it: the same sums as analysis.models.cost,
// analysis.allocation.budgets and analysis.prediction, on codes instead of names. A code is the
// place of a format in `model.formats`; whole numbers stay exact below 2^53.

function decodeFloats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float64Array(bytes.buffer);
}

// Turns the score table of a payload into look-ups by codes.
function readScores(given, formats) {
  if (!given) return null;
  const column = new Map(given.columns.map(([w, a], c) => [w * formats.length + a, c]));
  const pairs = (given.pairs || []).map(([i, j, text]) => ({ i, j, values: decodeFloats(text) }));
  const pairsOf = given.rows.map(() => []);
  for (const pair of pairs) {
    pairsOf[pair.i].push(pair);
    pairsOf[pair.j].push(pair);
  }
  return {
    ...given,
    values: decodeFloats(given.values),
    width: given.columns.length,
    columnOf: (w, a) => column.get(w * formats.length + a),
    pairs,
    pairsOf,
  };
}

function readModel(data) {
  return {
    ...data,
    scores: readScores(data.scores, data.formats),
    noise: readScores(data.noise, data.formats),
    sizeCosts: data.size.costs.map(([, own]) => own),
    float: data.formats.findIndex((f) => f.name === "float"),
  };
}

// Neumaier's compensated sum: as good as Python's fsum but for the last digit.
function preciseSum(values) {
  let sum = 0;
  let lost = 0;
  for (const value of values) {
    const next = sum + value;
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
  }
  return sum + lost;
}

// The score of one layer at codes (w, a); undefined where it was not scored.
function scoreAt(scores, layer, w, a) {
  const column = scores ? scores.columnOf(w, a) : undefined;
  const row = scores ? scores.rows[layer] : -1;
  return column === undefined || row < 0 ? undefined : scores.values[row * scores.width + column];
}

function predictedLoss(model, weights, activations) {
  const { scores, layers, float } = model;
  if (!scores) return null;
  const terms = [];
  const columns = [];
  let missing = 0;
  layers.forEach((_, i) => {
    const value = scoreAt(scores, i, weights[i], activations[i]);
    if (value !== undefined) terms.push(value);
    else if (weights[i] !== float || activations[i] !== float) missing += 1;
    columns.push(value === undefined ? undefined : scores.columnOf(weights[i], activations[i]));
  });
  for (const { i, j, values } of scores.pairs) {
    if (columns[i] === undefined || columns[j] === undefined) continue;
    terms.push(values[columns[i] * scores.width + columns[j]]);
  }
  return { value: preciseSum(terms), missing };
}

// What a row of whole numbers sums to. `costs` holds the layers that count at all, by weight code,
// activation code or both; `products` adds MACs x weight bits x activation bits.
function rowTotal(row, weights, activations, formats, bops) {
  let total = row.fixed + (row.products ? bops : 0);
  for (const [i, own] of row.costs) {
    if (row.by === "weights") total += own[weights[i]];
    else if (row.by === "activations") total += own[activations[i]];
    else total += own[weights[i] * formats.length + activations[i]];
  }
  return total;
}

// Whether this is the solver's own answer: what is certified of it holds for nothing else.
function isSolution({ solved }, weights, activations) {
  return Boolean(solved) && weights.every((code, i) => code === solved.weights[i]) &&
    activations.every((code, i) => code === solved.activations[i]);
}

// A budget of several rows (a peak) uses what its fullest row does. Of one without rows only the
// solver knows what is used, and only by its own answer.
function budgetUse(budget, weights, activations, formats, bops, solution) {
  if (!budget.rows) {
    if (!solution) return { ...budget, used: undefined, solution };
    return { ...budget, left: budget.limit - budget.used, kept: true, solution };
  }
  const sums = budget.rows.map((row) => rowTotal(row, weights, activations, formats, bops));
  const total = Math.max(...sums);
  return {
    ...budget,
    total,
    fixedShare: total ? budget.rows[sums.indexOf(total)].fixed / total : 0,
    used: total / budget.unit,
    left: (budget.limit - total) / budget.unit,
    kept: total <= budget.limit,
    solution,
  };
}

function totals(model, weights, activations) {
  const { formats, layers } = model;
  let bops = 0;
  let weightBits = 0;
  let activationBits = 0;
  let numWeights = 0;
  let macs = 0;
  layers.forEach((layer, i) => {
    const w = formats[weights[i]].bits;
    const a = formats[activations[i]].bits;
    bops += layer.macs * w * a;
    weightBits += layer.weights * w;
    activationBits += layer.macs * a;
    numWeights += layer.weights;
    macs += layer.macs;
  });
  const size = rowTotal(model.size, weights, activations, formats, bops);
  const solution = isSolution(model, weights, activations);
  return {
    size,
    sizeMiB: size / model.size.unit,
    sizeRatio: size / model.size.reference,
    compression: model.size.float / size,
    bops,
    bopsRatio: bops / model.bopsReference,
    averageWeightBits: weightBits / numWeights,
    averageActivationBits: activationBits / macs,
    predicted: predictedLoss(model, weights, activations),
    budgets: model.budgets.map((b) =>
      budgetUse(b, weights, activations, formats, bops, solution)),
  };
}

// What the prediction gains when the weights of layers go to another scored code together.
function scoreChange(model, weights, activations, layers, code) {
  const { scores } = model;
  const own = new Set(layers);
  const before = (i) => scores.columnOf(weights[i], activations[i]);
  const after = (i) => (own.has(i) ? scores.columnOf(code, activations[i]) : before(i));
  const terms = layers.flatMap((i) => [
    scores.values[scores.rows[i] * scores.width + after(i)],
    -scores.values[scores.rows[i] * scores.width + before(i)],
  ]);
  for (const { i, j, values } of new Set(layers.flatMap((layer) => scores.pairsOf[layer]))) {
    if (before(i) === undefined || before(j) === undefined) continue;
    const at = (first, second) => first * scores.width + second;
    terms.push(values[at(after(i), after(j))], -values[at(before(i), before(j))]);
  }
  return preciseSum(terms);
}

// The next lower format that was scored (of the ladder where nothing is) of layers that share one,
// with what it saves and costs; null at the bottom.
function stepDown(model, weights, activations, layers) {
  const { formats, scores } = model;
  const now = weights[layers[0]];
  const lower = model.ladder.filter((c) => formats[c].bits < formats[now].bits).reverse();
  const known = (c) => layers.every((i) => scoreAt(scores, i, c, activations[i]) !== undefined);
  const code = lower.find(known) ?? lower[0];
  if (code === undefined) return null;
  const saved = layers.map((i) => model.sizeCosts[i][now] - model.sizeCosts[i][code]);
  const both = scores && known(code) && known(now);
  return {
    code,
    savedBits: saved.reduce((sum, bits) => sum + bits, 0),
    cost: both ? scoreChange(model, weights, activations, layers, code) : null,
  };
}
