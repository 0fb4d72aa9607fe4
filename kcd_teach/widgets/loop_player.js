// @ts-check
// The loop player. Python sends, for every epoch, the numbers of both presets, and where the followed samples are then.

const SHAPES = ["kept", "mixed", "dropped"];

/** The mark of a role: a disc, a diamond, a cross. @param {CanvasRenderingContext2D} pen */
function mark(pen, role, x, y, size) {
  pen.beginPath();
  if (role === 0) pen.arc(x, y, size * 0.8, 0, 7);
  else if (role === 1) { pen.moveTo(x, y - size * 1.3); pen.lineTo(x + size * 1.3, y); pen.lineTo(x, y + size * 1.3); pen.lineTo(x - size * 1.3, y); }
  else { pen.moveTo(x - size, y - size); pen.lineTo(x + size, y + size); pen.moveTo(x - size, y + size); pen.lineTo(x + size, y - size); }
  if (role === 2) pen.stroke(); else pen.fill();
}

/** The loop with its numbers; what happens in this epoch is lit. */
function drawLoop(found) {
  const { event, now } = found, count = (n) => n.toLocaleString("en");
  const boxes = [
    [0, 0, "student answers", `${count(found.shown)} samples shown`, true],
    [226, 0, "entropy recorded", `mean ${found.entropy.toFixed(2)} nats`, true],
    [226, 62, now ? "ranking" : "ranking: waits", now ? `after epoch ${event.epoch}, cut ${event.cut.toFixed(3)}` : found.next ? `until epoch ${found.next}` : "no event follows", now],
    [0, 62, now ? "keep, blend, drop" : event ? `last event, epoch ${event.epoch}` : "keep, blend, drop",
      event ? `${count(event.left)} out, ${count(event.returned)} back, ${count(event.blended)} blended` : "no event so far", now],
  ];
  const drawn = svg("svg", { viewBox: "0 0 430 108", class: "loop", role: "img",
    "aria-label": "The loop: the student answers, its entropy is recorded, the samples are ranked, and an event keeps, blends and drops" });
  for (const [x, y, head, text, lit] of boxes) drawn.append(
    svg("rect", { x: x + 1, y: y + 1, width: 202, height: 42, rx: 5, class: lit ? "box lit" : "box" }),
    svg("text", { x: x + 102, y: y + 18, "text-anchor": "middle", "font-weight": 600, class: lit ? "" : "faint" }, head),
    svg("text", { x: x + 102, y: y + 34, "text-anchor": "middle", class: lit ? "" : "faint" }, text));
  const arrow = (d, tip, lit) => drawn.append(svg("path", { d, class: lit ? "way lit" : "way" }), svg("path", { d: tip, class: lit ? "tip lit" : "tip" }));
  arrow("M204 22H218", "M226 22l-9 -5v10z", true);
  arrow("M328 44V54", "M328 62l-5 -9h10z", now);
  arrow("M226 84H212", "M204 84l9 -5v10z", now);
  arrow("M102 62V52", "M102 44l-5 9h10z", now);
  return drawn;
}

const drawing = { render: instrument(({ model, root, controls, answer }) => {
  const { presets, ticks, pictures, samples, controls: [epochs] } = model.get("data");
  const tiles = new Tiles();
  const read = () => model.get("setting").epoch;
  const bar = playBar(epochs, controls.epoch, read,
    (epoch) => { model.set("setting", { epoch }); model.save_changes(); },
    (epoch) => (answer().numbers.paper.now || answer().numbers.released.now ? 2200 : 800));
  const state = make("p", { class: "state three", role: "status" });
  const key = make("p", { class: "note legend" }, ...SHAPES.map((role, at) => make("span", {}, make("b", { class: `sign-${role}` }, "\u25cf\u25c6\u2715"[at]), ` ${role}`)),
    make("span", {}, "between events only scores move, up or down; an event puts all samples in order and cuts"));
  const columns = Object.entries(presets).map(([name, paths]) => column(name, paths));
  root.append(make("div", { class: "bar" }, bar.element, key),
    make("div", { class: "panels two" }, ...columns.map((one) => one.element)), state);
  let shown = -1;

  /** One preset: its loop, its ranking, and the samples that are followed. */
  function column(name, paths) {
    const place = unpack(paths.place), height = unpack(paths.height), roles = unpack(paths.role), dots = paths.place.shape[1];
    const loop = make("div"), canvas = make("canvas", { class: "plot", role: "img" });
    const boxes = pictures.map((id, i) => tile("", `followed sample ${i + 1}`));
    const labels = pictures.map((_, i) => make("span", {}, String(i + 1)));
    const followed = make("div", { class: "tiles followed" }, ...pictures.map((_, i) => make("figure", {}, boxes[i], labels[i])));
    let x = new Float32Array(dots), y = new Float32Array(dots), from = [x, y], epoch = 0, settled = true, inTurn = false;
    const move = motion((share) => {
      // First the scores are recorded, and then an event puts the samples into their new order.
      const row = epoch * dots, aside = inTurn ? Math.max(2 * share - 1, 0) : share, upward = inTurn ? Math.min(2 * share, 1) : share;
      for (let i = 0; i < dots; i += 1) {
        x[i] = from[0][i] + aside * (place[row + i] / 65535 - from[0][i]);
        y[i] = from[1][i] + upward * (height[row + i] / 65535 - from[1][i]);
      }
      settled = share === 1;
      paint();
    });
    watch(canvas, () => paint());

    function paint() {
      const pen = canvas.getContext("2d"), sharp = window.devicePixelRatio || 1, tint = tints(root, ["ink", "faint", "line", "ground", ...SHAPES]);
      const wide = canvas.width / sharp, high = canvas.height / sharp, left = 34, low = high - 30, across = (v) => left + v * (wide - left - 10), up = (v) => low - v * (low - 10);
      pen.setTransform(sharp, 0, 0, sharp, 0, 0);
      pen.clearRect(0, 0, wide, high);
      pen.font = "11px system-ui, sans-serif";
      pen.strokeStyle = tint.line; pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(left, 4); pen.lineTo(left, low); pen.lineTo(wide - 6, low); pen.stroke();
      pen.fillStyle = tint.faint; pen.textAlign = "right";
      for (const [at, text] of ticks) pen.fillText(text, left - 4, up(at) + 4);
      pen.textAlign = "center";
      for (const [at, text] of [[0, "0"], [0.5, "50"], [1, "100 %"]]) pen.fillText(text, Math.min(across(at), wide - 18), low + 13);
      pen.fillStyle = tint.ink; pen.fillText("samples, in the order of the last event", across(0.5), low + 26);
      pen.textAlign = "left"; pen.fillText("score, nats", left + 4, 12);
      // While the dots move they keep the role that they had, and the event decides when they have arrived.
      const at = settled ? epoch : Math.max(epoch - 1, 0), kept = paths.kept[at], row = at * dots;
      for (let i = dots - 1; i >= pictures.length; i -= 1) {
        pen.fillStyle = pen.strokeStyle = tint[SHAPES[roles[row + i]]];
        mark(pen, roles[row + i], across(x[i]), up(y[i]), 2.5);
      }
      if (kept < 1) {
        pen.strokeStyle = tint.ink; pen.lineWidth = 1.5;
        pen.beginPath(); pen.moveTo(across(kept), low); pen.lineTo(across(kept), 16); pen.stroke();
        pen.fillStyle = tint.ink; pen.textAlign = "right"; pen.fillText(`keep ${(100 * kept).toFixed(0)} %`, across(kept) - 4, 24);
      }
      pen.textAlign = "center"; pen.font = "bold 11px system-ui, sans-serif";
      const circles = []; // one that would hide another stands above it, on a stalk
      for (let i = 0; i < pictures.length; i += 1) {
        const over = across(x[i]);
        let raised = up(y[i]);
        while (circles.some(([otherOver, otherRaised]) => Math.hypot(over - otherOver, raised - otherRaised) < 17)) raised -= 4;
        circles.push([over, raised]);
        pen.fillStyle = tint.ground; pen.strokeStyle = tint[SHAPES[roles[row + i]]]; pen.lineWidth = 2;
        pen.beginPath(); pen.moveTo(over, up(y[i])); pen.lineTo(over, raised); pen.stroke();
        pen.beginPath(); pen.arc(over, raised, 8, 0, 7); pen.fill(); pen.stroke();
        pen.fillStyle = tint.ink; pen.fillText(String(i + 1), over, raised + 4);
      }
      boxes.forEach((box, i) => {
        const role = SHAPES[roles[row + i]];
        box.className = `tile ${role}`;
        labels[i].textContent = `${i + 1} ${role}`;
      });
    }

    return {
      element: make("div", { class: "panel" }, make("h3", {}, name === "paper" ? "As in the paper" : "As in the released code"), loop, canvas, followed),
      paint: () => boxes.forEach((box, i) => tiles.paint(box, pictures[i])),
      show: (next, ms) => {
        inTurn = next === epoch + 2 && answer().numbers[name].now;
        epoch = next - 1;
        from = [x.slice(), y.slice()];
        loop.replaceChildren(drawLoop(answer().numbers[name]));
        canvas.setAttribute("aria-label", `${samples.toLocaleString("en")} samples by rank and score, ${name} preset`);
        move(inTurn ? 3 * ms : ms);
      },
    };
  }

  async function redraw() {
    bar.show();
    state.textContent = answer().text;
    const epoch = read();
    if (epoch !== shown) columns.forEach((one) => one.show(epoch, shown < 0 ? 0 : 500));
    shown = epoch;
    if (!tiles.place.size && !(await tiles.load(answer().sprites))) return;
    columns.forEach((one) => one.paint());
  }

  return redraw;
}) };
export default drawing;
