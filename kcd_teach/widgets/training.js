// @ts-check
// The view of training. Python sends rows with the curves of finished and of running runs, a text, and for a plan the
// state of its cells and which of its buttons can be pressed.

/** A panel with the curves of one row in its colour, and those of all others in grey behind it. */
function drawRuns(row, rows, epochs, low, high) {
  const wide = 260, tall = 130, left = 40, x = (epoch) => left + (epoch - 1) / Math.max(epochs - 1, 1) * (wide - left - 10),
    y = (value) => tall - 20 - (value - low) / (high - low) * (tall - 40);
  const path = (line) => `M${line.map((value, at) => `${x(at + 1)} ${y(value)}`).join("L")}`;
  const last = row.done.concat(row.running).map((line) => line[line.length - 1]);
  const plotted = svg("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img",
    "aria-label": `${row.name}: ${last.length ? last.map((value) => `${value.toFixed(1)} %`).join(", ") : "not run yet"}` },
    svg("path", { class: "axis", d: `M${left} 20V${tall - 20}H${wide - 10}` }),
    svg("text", { x: left, y: 12 }, row.name),
    svg("text", { x: wide - 10, y: 12, "text-anchor": "end" }, last.length ? `${last[last.length - 1].toFixed(1)} %` : "not run yet"),
    svg("text", { x: left - 4, y: y(low) + 4, "text-anchor": "end", class: "faint" }, String(low)),
    svg("text", { x: left - 4, y: y(high) + 4, "text-anchor": "end", class: "faint" }, `${high} %`),
    svg("text", { x: left, y: tall - 6, class: "faint" }, "epoch 1"),
    svg("text", { x: wide - 10, y: tall - 6, "text-anchor": "end", class: "faint" }, String(epochs)));
  for (const other of rows) if (other !== row) for (const line of other.done.concat(other.running))
    plotted.append(svg("path", { d: path(line), fill: "none", stroke: "var(--faint)", "stroke-width": 0.8, opacity: 0.35 }));
  for (const line of row.done) plotted.append(svg("path", { d: path(line), fill: "none", stroke: `var(--${row.role})`, "stroke-width": 1.6 }));
  for (const line of row.running) if (line.length) plotted.append(
    svg("path", { d: path(line), fill: "none", stroke: `var(--${row.role})`, "stroke-width": 1.6 }),
    svg("circle", { cx: x(line.length), cy: y(line[line.length - 1]), r: 3.5, fill: `var(--${row.role})` }));
  return plotted;
}

/** The cells of a plan: a row per way to train, a column per pair, a sign and a word per seed. */
function drawCells({ pairs, rows }) {
  const signs = { done: "●", running: "◐", missing: "○" };
  return make("table", { class: "cells" },
    make("caption", { class: "note" }, "● done   ◐ running   ○ missing, a sign per seed"),
    make("tr", {}, make("th"), ...pairs.map((pair) => make("th", { scope: "col" }, pair))),
    ...rows.map(([row, ...cells]) => make("tr", {}, make("th", { scope: "row" }, row), ...cells.map((states) =>
      make("td", { "aria-label": states.join(", ") }, ...states.map((state) => make("span", { class: state }, signs[state])))))));
}

const drawing = { render: instrument(({ model, root }) => {
  const panels = make("div", { class: "panels" }), state = make("p", { class: "state", role: "status" }), cells = make("div"),
    buttons = make("div", { class: "bar" });
  const press = (name) => () => model.send({ press: name });
  const start = make("button", { type: "button", click: press("start") }), stop = make("button", { type: "button", click: press("stop") }, "stop");
  if (model.get("answer").buttons && model.send) buttons.append(start, stop);
  root.append(buttons, panels, state, cells);
  return () => {
    const answer = model.get("answer"), all = answer.rows.flatMap((row) => row.done.concat(row.running)).flat();
    const low = all.length ? 5 * Math.floor(Math.min(...all) / 5) : 0, high = all.length ? Math.max(5 * Math.ceil(Math.max(...all) / 5), low + 5) : 100;
    panels.replaceChildren(...answer.rows.map((row) => drawRuns(row, answer.rows, answer.epochs, low, high)));
    state.textContent = answer.text;
    if (answer.cells) cells.replaceChildren(drawCells(answer.cells));
    if (answer.buttons && model.send) {
      const [next, spent] = answer.buttons.busy ? [stop, start] : [start, stop], held = document.activeElement === spent;
      start.textContent = answer.buttons.start;
      next.disabled = false;
      if (held) next.focus(); // a button that cannot be pressed any more would lose the keyboard
      spent.disabled = true;
    }
  };
}) };
export default drawing;
