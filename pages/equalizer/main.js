// Life of the component: mount once, follow the server's data, echo the state.
//
// The component's own state wins. Each payload carries a version; only a newer one replaces what is
// on screen, so an echo that comes late can neither undo an edit nor flicker.

const ECHO_MS = 120;
const AT_ONCE_MS = 10;
const HOLD_MS = 1500;
const mounted = new WeakMap();

function createApp(root) {
  const app = { root, chart: createChart(root), typed: null, drag: null, waiting: null,
    choice: { colour: "scores", fit: false, compare: "" }, sent: "", touched: false,
    hovered: null, follow: false, layerVersion: null, held: null, notice: "", asked: 0,
    sends: 0, owed: false, unsent: false, stop: null };

  app.ghost = () => app.state.model.ghosts.find((g) => g.name === app.choice.compare) || null;

  app.colours = () => {
    const { model } = app.state;
    return colouring(model, colourShown(model, app.choice.colour), app.state);
  };

  app.redraw = () => {
    const begin = performance.now();
    const { state, chart } = app;
    const colours = app.colours();
    const ghost = app.ghost();
    chart.fit = app.choice.fit;
    drawCards(root, state.model, totals(state.model, state.weights, state.activations));
    drawColumns(chart, state, ghost, colours);
    app.choice.overflows = chart.width > chart.scroll.clientWidth;
    drawLegend(root, state, colours, ghost);
    drawDetail(root, state, app.notice);
    drawTools(root, state, app.choice);
    if (app.hovered !== null) app.hover(app.hovered);
    const { dataset } = root.querySelector(".equalizer");
    dataset.readoutMs = (performance.now() - begin).toFixed(1);
    dataset.edits = String(state.seq);
  };

  app.hover = (layer) => {
    app.hovered = layer;
    const box = layer === null ? null : app.chart.columns[layer].bar.getBoundingClientRect();
    drawTip(root, app.state, app.colours(), layer, box);
  };

  // An edit while the server owes no answer is sent at once; others wait until a burst is over.
  app.changed = (edited, { follow = false, notice = "" } = {}) => {
    const { state, chart } = app;
    app.touched = true;
    app.notice = notice;
    const within = chart.svg.contains(root.activeElement);
    app.redraw();
    if (within) chart.columns[state.focus].group.focus({ preventScroll: true });
    if (follow) reveal(chart, state.focus);
    if (edited) {
      root.querySelector(".equalizer").dataset.editedAt = String(performance.now());
      say(root.querySelector(".spoken"), describe(state, state.focus, app.colours()));
    }
    if (notice) say(root.querySelector(".spoken"), notice);
    clearTimeout(app.waiting);
    const idle = edited && app.asked <= state.model.answered;
    app.waiting = setTimeout(app.flush, idle ? AT_ONCE_MS : ECHO_MS);
  };

  app.flush = () => {
    clearTimeout(app.waiting);
    app.waiting = null;
    const { state } = app;
    const content = {
      version: app.version,
      weights: state.weights,
      activations: state.activations,
      pins: [...state.pins].sort((a, b) => a - b),
      ties: state.ties,
      layer: app.touched ? state.model.layers[state.focus].name : "",
    };
    const text = JSON.stringify(content);
    if (text === app.sent) return false;
    app.sent = text;
    app.asked = state.seq;
    app.sends += 1;
    app.owed = true;
    app.send("edit", { ...content, seq: state.seq, sent: app.sends });
    return true;
  };

  // A click elsewhere on the page acts on what the server has: it waits until that is everything.
  // Both at once would race, and the echo of this page could overtake a change to another.
  app.hold = (event) => {
    const target = event.target.closest ? event.target.closest("a, button") : null;
    if (!app.waiting || !target || event.composedPath().includes(root)) return;
    if (!app.flush()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const patience = setTimeout(() => app.held?.(), HOLD_MS);
    app.held = () => {
      clearTimeout(patience);
      app.held = null;
      target.click();
    };
  };

  app.open = (page, sample = null) => {
    app.touched = true;
    app.flush();
    app.trigger("open", { page, layer: app.state.model.layers[app.state.focus].name, sample });
  };

  app.receive = (data) => {
    const model = readModel(data);
    if (!app.state) {
      app.state = createState(model, data.start);
      app.state.seq = data.answered;
      app.sends = data.heard;
      buildColumns(app.chart, model);
    } else {
      app.state.model = model;
      if (data.version > app.version) {
        adopt(app.state, data.start);
        app.notice = "";
      }
    }
    app.version = data.version;
    root.querySelector(".equalizer").dataset.answered = String(data.answered);
    if (app.held && data.answered >= app.state.seq) setTimeout(() => app.held?.());
    // What the server says before, or in answer to, the last selection here is older than that: the
    // rest of the page may still have sent it the layer before. It takes nothing back, now or later.
    const late = app.waiting !== null || app.owed;
    if (data.heard >= app.sends) app.owed = false;
    const chosenElsewhere = data.layer.version !== app.layerVersion && !late;
    app.layerVersion = data.layer.version;
    if (chosenElsewhere) {
      const found = model.layers.findIndex((layer) => layer.name === data.layer.name);
      if (found >= 0) {
        if (found !== app.state.focus) select(app.state, found);
        app.follow = true;
      }
    }
    fillCompare(root, model.ghosts, app.choice.compare);
    if (!app.drag) app.redraw();
    if (app.follow) reveal(app.chart, app.state.focus);
    app.follow = false;
  };
  return app;
}

// A root that is mounted anew with what it holds goes on as it was left; edits that were not sent
// yet are sent then.
export default function equalizer(component) {
  const { parentElement: root, data } = component;
  let app = mounted.get(root);
  if (!app || !root.contains(app.chart.svg)) {
    app = createApp(root);
    mounted.set(root, app);
  }
  app.send = component.setStateValue;
  app.trigger = component.setTriggerValue;
  app.receive(data);
  if (!app.stop) {
    const leaving = new AbortController();
    listen(app, root, leaving.signal);
    if (app.unsent) app.waiting = setTimeout(app.flush, AT_ONCE_MS);
    app.stop = () => {
      leaving.abort();
      app.unsent = app.waiting !== null;
      clearTimeout(app.waiting);
      app.waiting = null;
      app.drag = null;
      app.stop = null;
    };
  }
  return app.stop;
}
