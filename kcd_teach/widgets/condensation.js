// @ts-check
// The condensation explorer. Python sends, for a setting: counts, cost, events with their rankings, classes and samples.

const WIDE = 280, HIGH = 146, LEFT = 40, BOTTOM = 30;

/** Position of a share of the width or the height of a plot, both 0 to 1. */
const across = (share) => LEFT + share * (WIDE - LEFT - 16);
const up = (share) => (HIGH - BOTTOM) * (1 - share) + 4;

/** An empty plot with its axes and ticks. @param {string} name @param {[number, string][]} below @param {[number, string][]} beside
 * @param {string} xLabel @param {string} yLabel */
function plot(name, below, beside, xLabel, yLabel) {
  return svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH + 14}`, role: "img", "aria-label": name },
    svg("path", { class: "axis", d: `M${LEFT} ${up(1)}V${up(0)}H${across(1)}` }),
    ...below.map(([at, text]) => svg("text", { x: across(at), y: up(0) + 14, "text-anchor": "middle", class: "faint" }, text)),
    ...beside.map(([at, text]) => svg("text", { x: LEFT - 5, y: up(at) + 4, "text-anchor": "end", class: "faint" }, text)),
    svg("text", { x: across(0.5), y: up(0) + 29, "text-anchor": "middle" }, xLabel),
    svg("text", { transform: `translate(11 ${up(0.5)}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
}

/** The steps of a schedule as a path. @param {any} answer @param {number} epochs */
function stairs(answer, epochs) {
  const ends = [...answer.events.map((event) => event.epoch), epochs];
  return answer.counts.slice(0, ends.length).map((count, stage) =>
    `${stage ? "" : `M${across(0)} ${up(count / answer.counts[0])}`}V${up(count / answer.counts[0])}H${across(ends[stage] / epochs)}`).join("");
}

function drawSchedule(answer, pinned, epochs, at) {
  const plotted = plot("Samples shown in each stage", [[0, "0"], [0.5, String(epochs / 2)], [1, String(epochs)]],
    [[0, "0"], [0.5, "50"], [1, "100 %"]], "epoch", "samples shown");
  const path = stairs(answer, epochs);
  plotted.append(svg("path", { d: `${path}V${up(0)}H${across(0)}Z`, class: "fill-kept", opacity: 0.85 }));
  if (pinned) plotted.append(svg("path", { d: stairs(pinned, epochs), class: "ghost" }));
  const event = answer.events[at];
  if (event) plotted.append(svg("path", { class: "curve", d: `M${across(event.epoch / epochs)} ${up(0)}V${up(1)}` }),
    svg("text", { x: across(event.epoch / epochs) + (2 * event.epoch > epochs ? -4 : 4), y: up(0) - 6, class: "halo",
      "text-anchor": 2 * event.epoch > epochs ? "end" : "start" }, `event ${at + 1}`));
  return plotted;
}

/** The part of a curve between two shares of the ranking, as an area. */
function area(curve, from, to, top) {
  const ids = curve.map((_, at) => at).filter((at) => at >= from && at <= to);
  const height = (x) => { const low = Math.min(Math.floor(x), 99); return curve[low] + (x - low) * (curve[low + 1] - curve[low]); };
  const points = [from, ...ids, to].map((x) => `${across(x / 100)} ${up(Math.min(height(x) / top, 1))}`);
  return `M${across(from / 100)} ${up(0)}L${points.join("L")}L${across(to / 100)} ${up(0)}Z`;
}

function drawRanking(event, pinned) {
  const top = Math.max(event.curve[0], pinned ? pinned.curve[0] : 0) * 1.05 || 1;
  const plotted = plot("All samples by their score, most valuable on the left", [[0, "0"], [0.5, "50"], [1, "100 %"]],
    [[0, "0"], [1, top.toFixed(1)]], "samples, from most to least valuable", "value, nats");
  const edges = [0, event.kept, event.kept + event.mixed, 100];
  ["kept", "mixed", "dropped"].forEach((role, at) => plotted.append(
    svg("path", { d: area(event.curve, edges[at], edges[at + 1], top), class: `fill-${role}`, opacity: 0.85 })));
  const cut = across(edges[2] / 100);
  plotted.append(svg("path", { class: "curve", d: `M${cut} ${up(0)}V${up(0.75)}` }),
    svg("text", { x: Math.min(cut + 3, WIDE - 84), y: up(0.75) - 3 }, `cut ${event.cut.toFixed(2)} nats`));
  if (pinned) plotted.append(svg("path", { class: "ghost", d: `M${across((pinned.kept + pinned.mixed) / 100)} ${up(0)}V${up(0.6)}` }));
  return plotted;
}

/** Accuracy against cost, as measured: means with intervals, those at the chosen cost larger. */
function drawMeasured(families, answer, pinned) {
  const all = Object.values(families).flat();
  const low = Math.floor(Math.min(...all.map(([, mean, half]) => mean - half)));
  const high = Math.ceil(Math.max(...all.map(([, mean, half]) => mean + half)));
  const x = (cost) => across((cost - 50) / 55), y = (mean) => up((mean - low) / (high - low));
  const plotted = plot("Measured test accuracy against cost", [[0, "50"], [25 / 55, "75"], [50 / 55, "100 %"]],
    [[0, String(low)], [1, `${high} %`]], "cost of the run", "test accuracy");
  const mark = (cost, style) => plotted.append(svg("path", { class: style, d: `M${x(cost)} ${up(0)}V${up(1)}` }));
  mark(answer.cost, "curve");
  if (pinned) mark(pinned.cost, "ghost");
  const name = (x, y, end, text) => svg("text", { x, y, "text-anchor": end, class: "halo" }, text);
  const whole = (families.KD ?? []).find(([cost]) => cost === 100);
  if (whole) plotted.append(svg("path", { class: "level", d: `M${x(50)} ${y(whole[1])}H${x(100)}` }),
    name(across(1) + 12, y(whole[1] + whole[2]) - 4, "end", "plain KD"));
  // Intervals at one cost stand side by side; the name of a family is at its cheapest point, on the side that is free.
  const looks = { "labels alone": ["labels alone", "var(--ink)", 3, 0, -8, 4], KD: ["shorter KD", "var(--faint)", 3, 4, 8, 14],
    "random subset": ["random", "var(--dropped)", 4, 2, -8, 4], "KC-KD": ["KC-KD", "var(--kept)", 4, -2, -8, 4] };
  for (const [family, [title, tint, size, aside, beside, below]] of Object.entries(looks)) {
    const points = families[family] ?? [];
    if (points.length > 1) plotted.append(svg("path", { fill: "none", stroke: tint, "stroke-width": 1.5,
      d: `M${points.map(([cost, mean]) => `${x(cost) + aside} ${y(mean)}`).join("L")}` }));
    for (const [cost, mean, half] of points) plotted.append(
      svg("path", { stroke: tint, "stroke-width": 2, d: `M${x(cost) + aside} ${y(mean - half)}V${y(mean + half)}` }),
      svg("circle", { cx: x(cost) + aside, cy: y(mean), r: answer.accuracy && isAt(cost, answer) && family !== "labels alone" ? size + 3 : size, fill: tint, stroke: "var(--ground)" }));
    for (const [cost, mean] of points.slice(0, 1)) if (cost < 100 || family !== "KD")
      plotted.append(name(x(cost) + aside + beside, y(mean) + below, beside < 0 ? "end" : "start", title));
  }
  return plotted;
}

/** True for what was measured at the cost of a setting, but for a rounded count. */
const isAt = (cost, answer) => Math.abs(cost - answer.cost) < 0.3;

function drawClasses(classes, event, pinned) {
  const high = 13, plotted = svg("svg", { viewBox: `0 0 ${WIDE} ${classes.length * high + 2}`, role: "img",
    "aria-label": classes.map((name, c) => `${name} ${Math.round(event.classes[0][c] + event.classes[1][c])} %`).join(", ") });
  const from = 88, wide = WIDE - from - 42;
  classes.forEach((name, c) => {
    const [kept, mixed] = event.classes.map((role) => role[c]), top = c * high;
    plotted.append(
      svg("text", { x: from - 5, y: top + 10, "text-anchor": "end" }, name),
      svg("rect", { x: from, y: top + 2, width: wide, height: high - 3, class: "fill-dropped", opacity: 0.3 }),
      svg("rect", { x: from, y: top + 2, width: wide * kept / 100, height: high - 3, class: "fill-kept" }),
      svg("rect", { x: from + wide * kept / 100, y: top + 2, width: wide * mixed / 100, height: high - 3, class: "fill-mixed" }),
      svg("text", { x: from + wide + 5, y: top + 10, class: "faint" }, `${Math.round(kept + mixed)} %`));
    if (pinned) {
      const before = from + wide * (pinned.classes[0][c] + pinned.classes[1][c]) / 100;
      plotted.append(svg("path", { class: "ghost", "stroke-dasharray": "none", d: `M${before} ${top}V${top + high}` }));
    }
  });
  return plotted;
}

const drawing = { render: instrument(({ model, root, controls, change }) => {
  const { classes, measured, epochs } = model.get("data");
  let at = null; // the event that is looked at; the last one until another is chosen
  const tiles = new Tiles();
  const panel = (title) => { const body = make("div"); const head = make("h3", {}, title); return { head, body, all: make("div", { class: "panel" }, head, body) }; };
  const schedule = panel(""), ranking = panel(""), results = panel(""), who = panel(""), cut = panel("Just above and just below the cut"),
    pairs = panel("Before and after blending");
  const note = make("p", { class: "note two" }), came = make("p", { class: "note" });
  const key = (tint, text) => make("span", { class: "key", style: `--tint: ${tint}` }, text);
  who.all.append(make("p", { class: "note legend" }, key("var(--kept)", "kept"), key("var(--mixed)", "kept and blended"),
    key("color-mix(in srgb, var(--dropped) 30%, transparent)", "dropped")));
  results.all.append(note);
  const scrub = make("input", { type: "range", min: 0, step: 1, "aria-label": "event", input: () => { at = Number(scrub.value); redraw(); } });
  const scrubbed = make("output");
  ranking.all.append(make("label", { class: "slider" }, make("span", {}, "event"), scrub, scrubbed), came);
  const pin = make("button", { type: "button", "aria-pressed": "false", click: () => {
    model.set("pinned", model.get("pinned").events ? {} : bare(model.get("answer")));
    model.save_changes();
  } }, "pin for comparison");
  const reset = make("button", { type: "button", click: () => { at = null;
    change(Object.fromEntries(model.get("data").controls.map((control) => [control.name, control.value]))); } }, "reset");
  const state = make("p", { class: "state lead", role: "status" });
  const panels = make("div", { class: "panels" }, schedule.all, results.all, ranking.all, who.all, cut.all, pairs.all);
  const fixed = model.get("data").controls.some((control) => control.offered);
  root.append(
    make("div", { class: "bar" }, controls.images, controls.preset, controls.ratio, pin),
    state, panels,
    make("div", { class: "bar more" }, controls.stages, controls.exponent, controls.mixing, reset,
      make("span", { class: "note" }, "A thought experiment: who stays is found by replaying recorded entropies. Accuracies were measured, in trainings of their own."
        + (fixed ? " What is grey moves in a running notebook." : ""))));

  /** A text in which no line ends within a number with its interval and its unit. */
  const unbroken = (text) => text.replace(/ (?=[±%])|(?<=±) /g, "\u00a0");

  /** What is compared, without its pictures. */
  function bare(answer) { const { sprites, ...rest } = answer; return rest; }

  function redraw() {
    const answer = model.get("answer"), setting = answer.setting, events = answer.events;
    const pinned = model.get("pinned").events ? model.get("pinned") : null;
    const chosen = Math.min(at ?? events.length - 1, events.length - 1), event = events[chosen];
    const other = pinned ? pinned.events[Math.min(chosen, pinned.events.length - 1)] : null;
    pin.setAttribute("aria-pressed", String(Boolean(pinned)));
    pin.textContent = pinned ? `pinned: ${pinned.setting.ratio} %` : "pin for comparison";
    scrub.max = String(Math.max(events.length - 1, 0));
    scrub.value = String(Math.max(chosen, 0));
    scrub.disabled = events.length < 2;
    scrubbed.textContent = event ? `${chosen + 1} of ${events.length}` : "none";
    came.textContent = event ? `${event.returned ? event.returned.toLocaleString("en") : "None"} that had been dropped came back.` : "";
    scrub.setAttribute("aria-valuetext", scrubbed.textContent);
    const reached = ({ accuracy }) => (accuracy ? `${accuracy[0].toFixed(1)} %` : "unknown");
    const alone = answer.accuracy ? `${answer.accuracy.map((value) => value.toFixed(1)).join(" ± ")} %` : "not measured here";
    schedule.head.textContent = `Cost: ${answer.cost.toFixed(1)} %${pinned ? `, pinned: ${pinned.cost.toFixed(1)} %` : " of a full run"}`;
    schedule.body.replaceChildren(drawSchedule(answer, pinned, epochs, chosen));
    results.head.textContent = `Accuracy: ${pinned ? `${reached(answer)}, pinned: ${reached(pinned)}` : alone}`;
    results.body.replaceChildren(...(Object.values(measured[setting.images]).flat().length ? [drawMeasured(measured[setting.images], answer, pinned)] : []));
    note.textContent = unbroken(answer.compared);
    state.textContent = unbroken(answer.text);
    // Where nothing is dropped there is less to draw, and what stands below shall keep its place.
    panels.style.minHeight = event?.below.length ? "" : `${panels.offsetHeight}px`;
    ranking.head.textContent = event ? `The ranking after epoch ${event.epoch}` : "One stage: nothing is ranked";
    ranking.body.replaceChildren(...(event ? [drawRanking(event, other)] : []));
    who.head.textContent = event ? "Who stays, class by class" : "All samples stay";
    who.body.replaceChildren(...(event ? [drawClasses(classes, event, other)] : []));
    paintTiles(event);
  }

  /** Boxes for the pictures at once, and their contents as soon as they are decoded. */
  async function paintTiles(event) {
    const rows = event ? { above: ["mixed", "stay"], below: ["dropped", "go"] } : {};
    const wanted = [];
    cut.body.replaceChildren(...Object.entries(rows).map(([side, [role, word]]) => make("div", {},
      make("p", { class: "note" }, `just ${side} the cut: ${event[side].length ? `these ${word}` : "none"}`),
      make("div", { class: "tiles row" }, ...event[side].map((id) => {
        const box = tile(role, `sample ${id}`);
        wanted.push(() => tiles.paint(box, id));
        return box;
      })))));
    pairs.body.replaceChildren(make("div", { class: "pairs" }, ...(event ? event.pairs : []).map(([one, partner, share]) => {
      const boxes = [tile("mixed", `boundary sample ${one}`), tile("dropped", `partner ${partner}`), tile("mixed", "their mixture")];
      wanted.push(() => { tiles.paint(boxes[0], one); tiles.paint(boxes[1], partner); tiles.paint(boxes[2], one); tiles.paint(boxes[2], partner, share); });
      return make("div", { class: "pair" }, ...boxes, make("span", { class: "note" }, `${Math.round(100 * share)} %`));
    })), make("p", { class: "note" }, "A boundary sample, its partner, their mixture; and the partner's share."));
    const sheet = model.get("answer").sprites;
    if (sheet !== tiles.loaded && !(await tiles.load(sheet))) return;
    tiles.loaded = sheet;
    wanted.forEach((paint) => paint());
  }

  return redraw;
}) };
export default drawing;
