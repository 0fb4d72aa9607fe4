// @ts-check
// The knowledge map. Python sends, for every point: where it is in each epoch, what is said of it, and its kinds.

const STEPS = 65535, EDGE = { left: 40, right: 10, top: 10, bottom: 34 }, GALLERY = 24;

/** Whether a mark covers a place in its square, both -1 to 1: disc, diamond, cross, ring, plus. */
const COVERS = [
  (u, v) => u * u + v * v <= 1.2,
  (u, v) => Math.abs(u) + Math.abs(v) <= 1.1,
  (u, v) => Math.abs(Math.abs(u) - Math.abs(v)) < 0.4,
  (u, v) => Math.max(Math.abs(u), Math.abs(v)) > 0.6,
  (u, v) => Math.min(Math.abs(u), Math.abs(v)) < 0.4,
];
const SIGNS = "\u25cf\u25c6\u2715\u25a1\u271a";

/** A colour like #0072B2 as a pixel of ImageData; a dark page lifts it towards white by a share. */
const pixel = (tint, alpha, lift) => [1, 3, 5].reduce((sum, at, i) => {
  const level = parseInt(tint.slice(at, at + 2), 16);
  return sum | (Math.round(level + lift * (255 - level)) << (8 * i));
}, alpha << 24) >>> 0;

const drawing = { render: instrument(({ model, root, controls, answer }) => {
  const data = model.get("data"), { classes, kinds, ticks, top, note } = data, [epochs] = data.controls;
  const ids = unpack(data.ids), n = ids.length, across = unpack(data.across), said = unpack(data.said), label = unpack(data.label),
    best = unpack(data.best), share = unpack(data.share), some = data.best.shape[1];
  const values = { "mean so far": unpack(data.mean), "this epoch": unpack(data.now) };
  const codes = Object.fromEntries(Object.keys(kinds).map((kind, i) => [kind, unpack(data[`kind${i}`])]));
  const setting = () => model.get("setting"), percent = (level) => `${Math.round((100 * level) / STEPS)} %`;
  const x = new Int32Array(n), y = new Float32Array(n), from = new Float32Array(n); // pixels across, shares up
  let lit = new Set(), chosen = -1, gallery = [], lasso = [], grid = null, orders = {}, last = "", buffer = null, stamp = "", stamps = [];

  const map = make("canvas", { "aria-hidden": "true" });
  const over = make("canvas", { tabindex: 0, role: "application", "aria-label":
    "map of samples: arrow keys go to the next point, Enter shows its neighbours, Escape lets go" });
  const legend = make("div", { class: "bar keys", role: "group", "aria-label": "show only" });
  const state = make("p", { class: "state", role: "status" }), point = make("p", { class: "state point", role: "status" });
  const picture = make("canvas", { width: 112, height: 112, class: "large", role: "img" }), facts = make("div"), path = make("div");
  const found = make("div", { class: "found" });
  const bar = playBar(epochs, controls.epoch, () => setting().epoch,
    (epoch) => { model.set("setting", { ...setting(), epoch }); model.save_changes(); }, () => 750);
  root.append(make("div", { class: "bar" }, bar.element, controls.value, controls.colour), legend,
    make("div", { class: "mapped" }, make("div", { class: "map" }, map, over),
      make("div", { class: "side" }, make("div", { class: "shown" }, picture, facts), path, found)),
    point, state);
  if (note) root.append(make("p", { class: "note" }, note));

  // Pictures: those of a page are all there; a running notebook is asked for the others, which are then kept.
  const tiles = new Tiles(), asked = new Set();
  let waiting = [];
  const show = (canvas, p) => {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    tiles.paint(canvas, ids[p]);
    if (!tiles.place.has(ids[p])) waiting.push([canvas, p]);
  };
  const ask = (points) => {
    const missing = points.map((p) => ids[p]).filter((id) => !tiles.place.has(id) && !asked.has(id));
    if (!missing.length || !model.send) return;
    missing.forEach((id) => asked.add(id));
    model.send({ pictures: missing });
  };
  const arrived = () => {
    const open = waiting;
    waiting = [];
    open.forEach(([canvas, p]) => { if (canvas !== picture || p === chosen) show(canvas, p); });
  };
  model.on("msg:custom", async (/** @type {any} */ content, /** @type {any} */ buffers) => {
    await tiles.add({ ...content, file: buffers[0] });
    arrived();
  });
  tiles.add(answer().sprites).then(arrived);

  const size = () => {
    const sharp = window.devicePixelRatio || 1;
    return { sharp, left: EDGE.left * sharp, low: map.height - EDGE.bottom * sharp,
      wide: map.width - (EDGE.left + EDGE.right) * sharp, high: map.height - (EDGE.top + EDGE.bottom) * sharp };
  };
  const move = motion((done) => {
    const to = values[setting().value], row = (setting().epoch - 1) * n;
    for (let p = 0; p < n; p += 1) y[p] = from[p] + done * (to[row + p] / STEPS - from[p]);
    paint();
  });
  watch(map, () => { over.width = map.width; over.height = map.height; place(); paint(); });

  /** Where the points are across; it changes with the size only. */
  function place() {
    const { left, wide } = size();
    for (let p = 0; p < n; p += 1) x[p] = Math.round(left + (across[p] / STEPS) * wide);
  }

  /** The pixels of each mark, as steps from its middle. */
  function marks(width, side) {
    if (stamp === `${width} ${side}`) return stamps;
    stamp = `${width} ${side}`;
    stamps = COVERS.map((covers) => {
      const steps = [], half = (side - 1) / 2;
      for (let v = 0; v < side; v += 1) for (let u = 0; u < side; u += 1) {
        if (!half || covers((u - half) / half, (v - half) / half)) steps.push((v - Math.floor(half)) * width + u - Math.floor(half));
      }
      return steps;
    });
    return stamps;
  }

  function paint() {
    const width = map.width, height = map.height, pen = map.getContext("2d");
    if (!width || !height) return;
    const { sharp, left, low, wide, high } = size(), { names, tints: colours } = kinds[setting().colour], code = codes[setting().colour];
    if (!buffer || buffer.width !== width || buffer.height !== height) buffer = pen.createImageData(width, height);
    const pixels = new Uint32Array(buffer.data.buffer), side = Math.round((n > 20000 ? 2 : n > 3000 ? 3 : 7) * sharp);
    const lift = parseFloat(tints(root, ["lift"]).lift) / 100, steps = marks(width, side),
      full = names.map((_, i) => pixel(colours[i % colours.length], 255, lift)), faint = names.map(() => pixel("#8C8C8C", 40, 0));
    pixels.fill(0);
    for (const strong of lit.size ? [false, true] : [true]) {
      for (let p = 0; p < n; p += 1) {
        const kind = code[p];
        if (lit.size && lit.has(kind) !== strong) continue;
        const at = Math.round(low - y[p] * high) * width + x[p], mark = steps[kind % steps.length], tint = strong ? full[kind] : faint[kind];
        for (let i = 0; i < mark.length; i += 1) pixels[at + mark[i]] = tint;
      }
    }
    pen.putImageData(buffer, 0, 0);
    const { ink, faint: pale, line } = tints(root, ["ink", "faint", "line"]);
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    const bottom = low / sharp, begin = left / sharp, end = (left + wide) / sharp, summit = (low - high) / sharp;
    pen.strokeStyle = line;
    pen.beginPath(); pen.moveTo(begin - 4.5, summit); pen.lineTo(begin - 4.5, bottom + 4.5); pen.lineTo(end, bottom + 4.5); pen.stroke();
    pen.font = "11px system-ui, sans-serif"; pen.fillStyle = pale; pen.textAlign = "center";
    for (const [at, text] of ticks) pen.fillText(text, begin + at * (end - begin), bottom + 17);
    pen.textAlign = "right";
    for (let nats = 0; nats <= top; nats += top > 3 ? 1 : 0.5) pen.fillText(String(nats), begin - 9, bottom - (nats / top) * (bottom - summit) + 4);
    pen.fillStyle = ink; pen.textAlign = "center";
    pen.fillText("amount: what the teacher has to say, nats", (begin + end) / 2, bottom + 31);
    pen.save(); pen.translate(10, (bottom + summit) / 2); pen.rotate(-Math.PI / 2); pen.fillText("value to the student, nats", 0, 0); pen.restore();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    grid = null;
    orders = {};
    mark();
  }

  /** The chosen point and the lasso, above the map. */
  function mark() {
    const pen = over.getContext("2d"), { sharp, low, high } = size(), { ink, ground } = tints(root, ["ink", "ground"]);
    pen.clearRect(0, 0, over.width, over.height);
    if (lasso.length > 1) {
      pen.strokeStyle = ink; pen.lineWidth = 1.5 * sharp; pen.setLineDash([4 * sharp, 3 * sharp]);
      pen.beginPath(); lasso.forEach(([u, v]) => pen.lineTo(u, v)); pen.closePath(); pen.stroke(); pen.setLineDash([]);
    }
    if (chosen < 0) return;
    for (const [tint, wide] of [[ground, 5], [ink, 2]]) {
      pen.strokeStyle = tint; pen.lineWidth = wide * sharp;
      pen.beginPath(); pen.arc(x[chosen], low - y[chosen] * high, 8 * sharp, 0, 7); pen.stroke();
    }
  }

  /** Points by cells of the map, for those near a place; made when it is needed. */
  function cells() {
    if (grid) return grid;
    const { sharp, low, high } = size(), step = 16 * sharp, columns = Math.ceil(map.width / step) + 1, rows = Math.ceil(map.height / step) + 1;
    const cell = new Int32Array(n), start = new Int32Array(columns * rows + 1), items = new Int32Array(n);
    for (let p = 0; p < n; p += 1) start[(cell[p] = Math.floor((low - y[p] * high) / step) * columns + Math.floor(x[p] / step)) + 1] += 1;
    for (let c = 0; c < columns * rows; c += 1) start[c + 1] += start[c];
    const next = start.slice();
    for (let p = 0; p < n; p += 1) items[next[cell[p]]++] = p;
    return (grid = { step, columns, rows, start, items });
  }

  /** The points nearest to a place, nearest first, among those that are shown. */
  function near(u, v, count, reach) {
    const { step, columns, rows, start, items } = cells(), { low, high } = size(), code = codes[setting().colour], hits = [];
    for (let ring = 0; ring <= reach; ring += 1) {
      for (let r = Math.max(Math.floor(v / step) - ring, 0); r <= Math.min(Math.floor(v / step) + ring, rows - 1); r += 1) {
        for (let c = Math.max(Math.floor(u / step) - ring, 0); c <= Math.min(Math.floor(u / step) + ring, columns - 1); c += 1) {
          if (Math.max(Math.abs(r - Math.floor(v / step)), Math.abs(c - Math.floor(u / step))) !== ring) continue;
          for (let i = start[r * columns + c]; i < start[r * columns + c + 1]; i += 1) {
            const p = items[i];
            if (lit.size && !lit.has(code[p])) continue;
            hits.push([(x[p] - u) ** 2 + (low - y[p] * high - v) ** 2, p]);
          }
        }
      }
      if (hits.length >= count && ring) break;
    }
    return hits.sort((a, b) => a[0] - b[0]).slice(0, count).map(([, p]) => p);
  }

  /** Show one sample: its picture, what both say, and its way through the run. */
  function select(p, neighbours = []) {
    chosen = p;
    mark();
    if (p < 0) return;
    const epoch = setting().epoch, row = (epoch - 1) * n, name = (c) => classes[c] ?? "nothing";
    const three = Array.from({ length: some }, (_, i) => [best[p * some + i], share[p * some + i]]);
    const nats = ((values["this epoch"][row + p] / STEPS) * top).toFixed(2), answered = said[row + p];
    show(picture, p);
    picture.setAttribute("aria-label", `sample ${ids[p]}, labelled ${name(label[p])}`);
    const teacher = svg("svg", { viewBox: `0 0 150 ${some * 17}`, "aria-hidden": "true" });
    three.forEach(([c, level], i) => teacher.append(
      svg("rect", { x: 0, y: i * 17 + 1, width: Math.max(148 * (level / STEPS), 1), height: 14, class: "bar-back" }),
      svg("text", { x: 3, y: i * 17 + 12, "font-weight": c === label[p] ? 700 : 400 }, `${name(c)} ${percent(level)}`)));
    facts.replaceChildren(make("strong", {}, `label: ${name(label[p])}`), make("p", { class: "note" }, "the teacher says"), teacher,
      make("p", { class: "note" }, `student, epoch ${epoch}: `, make("strong", {}, answered === 255 ? "not shown" : name(answered)), `, ${nats} nats`));
    path.replaceChildren(trajectory(p, epoch));
    point.textContent = `Sample ${ids[p].toLocaleString("en")}, labelled ${name(label[p])}. Teacher: ${three.map(([c, level]) => `${name(c)} ${percent(level)}`).join(", ")}. `
      + `Student in epoch ${epoch}: ${answered === 255 ? "not shown" : `${name(answered)}, ${nats} nats`}; right in ${rights(p)} of ${epochs.options.length} epochs.`;
    ask([p, ...neighbours]);
  }
  const highest = () => y.reduce((most, value, p) => (value > y[most] ? p : most), 0);
  const rights = (p) => epochs.options.reduce((sum, _, e) => sum + Number(said[e * n + p] === label[p]), 0);

  /** Entropy by epoch: a disc where the student was right, a cross where it was wrong. */
  function trajectory(p, epoch) {
    const count = epochs.options.length, at = (e) => 26 + (count > 1 ? e / (count - 1) : 0.5) * 220, up = (e) => 66 - (values["this epoch"][e * n + p] / STEPS) * 58;
    const drawn = svg("svg", { viewBox: "0 0 260 92", role: "img", "aria-label": "its entropy in every epoch" },
      svg("path", { class: "axis", d: "M20 6V68H252" }), svg("text", { x: 16, y: 70, "text-anchor": "end", class: "faint" }, "0"),
      svg("text", { x: 16, y: 14, "text-anchor": "end", class: "faint" }, top.toFixed(1)),
      svg("path", { class: "axis", d: `M${at(epoch - 1)} 6V68` }),
      svg("path", { class: "curve", opacity: 0.5, d: `M${epochs.options.map((_, e) => `${at(e)} ${up(e)}`).join("L")}` }));
    epochs.options.forEach((_, e) => drawn.append(said[e * n + p] === label[p]
      ? svg("circle", { cx: at(e), cy: up(e), r: e === epoch - 1 ? 5 : 3, class: "fill-kept" })
      : svg("path", { class: "wrong", "stroke-width": e === epoch - 1 ? 3 : 1.7, d: `M${at(e) - 3} ${up(e) - 3}l6 6m0 -6l-6 6` })));
    drawn.append(svg("text", { x: 136, y: 86, "text-anchor": "middle", class: "faint" }, "entropy by epoch: \u25cf right, \u2715 wrong"));
    return drawn;
  }

  /** Show up to 24 of some samples, with their count per class. */
  function present(points) {
    gallery = points.filter((p) => !lit.size || lit.has(codes[setting().colour][p]));
    const count = new Map();
    gallery.forEach((p) => count.set(label[p], (count.get(label[p]) ?? 0) + 1));
    const few = Array.from({ length: Math.min(GALLERY, gallery.length) }, (_, i) => gallery[Math.floor((i * gallery.length) / Math.min(GALLERY, gallery.length))]);
    const most = [...count].sort((a, b) => b[1] - a[1]), others = most.splice(5).reduce((sum, [, many]) => sum + many, 0);
    const text = [...most.map(([c, many]) => [classes[c], many]), ["others", others]].filter(([, many]) => many)
      .map(([name, many]) => `${name} ${many.toLocaleString("en")}`).join(", ");
    found.replaceChildren(
      make("p", { role: "status" }, make("strong", {}, `${gallery.length.toLocaleString("en")} samples chosen`), gallery.length ? `: ${text}` : ""),
      make("div", { class: "tiles" }, ...few.map((p) => {
        const canvas = tile("", "");
        canvas.setAttribute("aria-hidden", "true");
        show(canvas, p);
        return make("button", { type: "button", class: "thumb", "aria-label": `sample ${ids[p]}, ${classes[label[p]]}`, title: classes[label[p]],
          focus: () => select(p), pointerenter: () => select(p), click: () => select(p) }, canvas);
      })));
    ask(few);
  }

  /** Points within a polygon. */
  function inside(polygon) {
    const { low, high } = size(), hits = [];
    const us = polygon.map(([u]) => u), vs = polygon.map(([, v]) => v), box = [Math.min(...us), Math.max(...us), Math.min(...vs), Math.max(...vs)];
    for (let p = 0; p < n; p += 1) {
      const u = x[p], v = low - y[p] * high;
      if (u < box[0] || u > box[1] || v < box[2] || v > box[3]) continue;
      let within = false;
      for (let i = 0, j = us.length - 1; i < us.length; j = i, i += 1) {
        if ((vs[i] > v) !== (vs[j] > v) && u < ((us[j] - us[i]) * (v - vs[i])) / (vs[j] - vs[i]) + us[i]) within = !within;
      }
      if (within) hits.push(p);
    }
    return hits;
  }

  const spot = (event) => { const sharp = window.devicePixelRatio || 1; return [event.offsetX * sharp, event.offsetY * sharp]; };
  const hover = ([u, v]) => { const close = near(u, v, GALLERY, 1); if (close.length && close[0] !== chosen) select(close[0], close); };
  let pressed = null;
  over.addEventListener("pointerdown", (event) => { pressed = spot(event); over.setPointerCapture(event.pointerId); });
  over.addEventListener("pointermove", (event) => {
    const here = spot(event);
    if (!pressed) return hover(here);
    if (lasso.length < 2 && Math.hypot(here[0] - pressed[0], here[1] - pressed[1]) < 8) return;
    if (lasso[0] !== pressed) lasso = [pressed];
    lasso.push(here);
    mark();
  });
  over.addEventListener("pointerup", (event) => {
    if (pressed && lasso[0] === pressed && lasso.length > 2) present(inside(lasso)); else { lasso = []; hover(spot(event)); mark(); }
    pressed = null;
  });
  over.addEventListener("pointercancel", () => { pressed = null; lasso = []; mark(); });
  over.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowDown: ["y", -1], ArrowUp: ["y", 1] }[event.key];
    if (step) {
      const along = step[0] === "x" ? across : y, code = codes[setting().colour];
      const order = (orders[step[0]] ??= Int32Array.from(Array.from(along.keys()).filter((p) => !lit.size || lit.has(code[p]))).sort((a, b) => along[a] - along[b] || a - b));
      const at = order.indexOf(chosen), next = order[at < 0 ? Math.floor(order.length / 2) : Math.min(Math.max(at + step[1], 0), order.length - 1)];
      if (next !== undefined) select(next);
    } else if (event.key === "Enter" && chosen >= 0) {
      const { low, high } = size();
      lasso = [];
      present(near(x[chosen], low - y[chosen] * high, GALLERY, 8));
      mark();
    } else if (event.key === "Escape") {
      lasso = []; gallery = []; found.replaceChildren(hint());
      select(-1);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const hint = () => make("p", { class: "note" }, "Point at a sample to see it, or draw around several.");
  found.append(hint());

  /** A button for every kind, which shows it alone or beside other chosen ones. */
  function keys() {
    const { names, tints: colours } = kinds[setting().colour];
    lit = new Set();
    legend.replaceChildren(...(names.length > 12 ? [make("span", { class: "note" }, `${names.length} kinds; point at a sample to see its own`)] : names.map((name, code) => {
      const button = make("button", { type: "button", "aria-pressed": "false", click: () => {
        if (!lit.delete(code)) lit.add(code);
        button.setAttribute("aria-pressed", String(lit.has(code)));
        paint();
      } }, make("span", { style: `--tint: ${colours[code % colours.length]}` }, SIGNS[code % SIGNS.length]), ` ${name}`);
      return button;
    })));
  }

  return function redraw() {
    const { epoch, value, colour } = setting(), moved = `${epoch} ${value}`;
    bar.show();
    state.textContent = answer().text;
    if (colour !== legend.dataset.of) { legend.dataset.of = colour; keys(); paint(); }
    if (moved === last) return;
    from.set(y);
    move(last ? 350 : 0);
    if (last) { if (chosen >= 0) select(chosen); } else select(highest()); // somebody is looked at from the beginning
    last = moved;
  };
}) };
export default drawing;
