// Heights, colours and numbers as they are read.

// Cividis (doi:10.1371/journal.pone.0199239) at ten even steps, as in every figure of the app.
const PALETTE = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74",
  "#c3b369", "#e1cc55", "#fee838"];

// Up to 8 bits a bit is a step; above, a doubling is, so that float does not dwarf the rest.
function height(bits) {
  return bits <= 8 ? bits : 8 + 1.1 * Math.log2(bits / 8);
}

function colourStep(value, coding) {
  if (value === undefined || !Number.isFinite(value)) return -1;
  const place = (x) => (coding.logarithmic ? Math.log10(Math.max(x, coding.low)) : x);
  const span = place(coding.high) - place(coding.low);
  const share = span > 0 ? (place(value) - place(coding.low)) / span : 0.5;
  return Math.min(9, Math.max(0, Math.floor(share * 10)));
}

function significant(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e6) {
    return Number(value.toPrecision(digits)).toLocaleString("en-US", {
      maximumSignificantDigits: digits,
      minimumSignificantDigits: digits,
    });
  }
  return value.toExponential(digits - 1).replace("e+", "e").replace("-", "−");
}

function whole(value) {
  return Math.round(value).toLocaleString("en-US");
}

function prefixed(value) {
  const units = [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]];
  const [limit, unit] = units.find(([l]) => Math.abs(value) >= l) || [1, ""];
  return `${Number((value / limit).toPrecision(3))}${unit}`;
}

function percent(share, digits = 1) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(digits)} %`;
}

// Bits that a change saves, or adds where negative, in bytes.
function bytes(bits) {
  const exact = Math.abs(bits) / 8;
  const text = exact % 1 ? exact.toLocaleString("en-US", { maximumFractionDigits: 1 }) : whole(exact);
  return `${text} bytes`;
}

const decibels = (noise) => (noise > 0 ? `${(-10 * Math.log10(noise)).toFixed(1)} dB` : "∞ dB");

// What columns can be coloured by, and what they are while the one that was chosen is not there.
function colourable(model) {
  return { scores: model.scores, noise: model.noise, share: true };
}

function colourShown(model, chosen) {
  return colourable(model)[chosen] ? chosen : "share";
}

// What the colours stand for: the value of a layer, its text, and the fixed ends of the scale.
function colouring(model, kind, state) {
  const { layers, scores, noise } = model;
  if (kind === "share") {
    const macs = state.role === "activations";
    const of = (layer) => (macs ? layer.macs : layer.weights);
    const total = layers.reduce((sum, layer) => sum + of(layer), 0);
    const values = layers.map((layer) => of(layer) / total);
    return {
      title: macs ? "share of MACs" : "share of weights",
      coding: { low: 0, high: Math.max(...values), logarithmic: false },
      value: (i) => values[i],
      text: percent,
    };
  }
  const table = kind === "noise" ? noise : scores;
  if (!table) return null;
  return {
    title: kind === "noise" ? "SQNR at these bits" : table.short,
    coding: table.coding,
    logarithmic: kind === "scores" && table.coding.logarithmic,
    value: (i) => scoreAt(table, i, state.weights[i], state.activations[i]),
    text: kind === "noise" ? decibels : (v) => `${significant(v, 2)} ${table.unit}`,
  };
}
