// @ts-check
// The temperature bench. Python sends, for a picture and a temperature: both predictions, entropies and the gradient.

const NAMES = 88, ENDS = 274, ROW = 17;

/** One panel: a row per class with its name, and what `draw(y, class)` puts beside it.
 * @param {string[]} classes @param {number} label its name is bold @param {string} name @param {(y: number, c: number) => SVGElement[]} draw */
function byClass(classes, label, name, draw) {
  const drawn = svg("svg", { viewBox: `0 0 ${ENDS + 10} ${classes.length * ROW + 4}`, role: "img", "aria-label": name });
  classes.forEach((text, c) => {
    const y = c * ROW + 2;
    drawn.append(svg("text", { x: NAMES - 6, y: y + 11, "text-anchor": "end", "font-weight": c === label ? 700 : 400 },
      text.length > 14 ? `${text.slice(0, 13)}…` : text), ...draw(y, c));
  });
  return drawn;
}

/** Bars of probabilities, from nothing to all. */
function drawBars(classes, label, probabilities, who) {
  const wide = ENDS - NAMES - 38;
  return byClass(classes, label, `What the ${who} says of each class`, (y, c) => [
    svg("rect", { x: NAMES, y, width: wide, height: ROW - 4, class: "empty" }),
    svg("rect", { x: NAMES, y, width: wide * probabilities[c], height: ROW - 4, class: `bar-${who}` }),
    svg("text", { x: NAMES + wide + 36, y: y + 11, "text-anchor": "end" }, percent(probabilities[c])),
  ]);
}

/** @param {number} share */
const percent = (share) => (share >= 0.0995 ? `${Math.round(100 * share)} %` : share >= 0.0005 ? `${(100 * share).toFixed(1)} %` : "0 %");

/** Bars on both sides of zero: what raises a logit is to the right. */
function drawGradient(classes, label, gradient, most) {
  const half = (ENDS - NAMES) / 2, zero = NAMES + half, wide = half - 40;
  const drawn = byClass(classes, label, "The gradient of each logit of the student", (y, c) => {
    const length = wide * Math.abs(gradient[c]) / most, up = gradient[c] < 0;
    return [
      svg("rect", { x: up ? zero - length : zero, y, width: length, height: ROW - 4, class: up ? "fill-kept" : "push-down" }),
      svg("text", { x: up ? zero - length - 4 : zero + length + 4, y: y + 11, "text-anchor": up ? "end" : "start" },
        gradient[c].toFixed(2).replace("-", "\u2212").replace(/^\u22120.00$/, "0.00")),
    ];
  });
  drawn.append(svg("path", { class: "axis", d: `M${zero} 0V${classes.length * ROW}` }));
  return drawn;
}

const drawing = { render: instrument(({ model, root, controls, change, answer }) => {
  const { classes, labels, most } = model.get("data");
  const tiles = new Tiles();
  const panel = (note) => { const head = make("h3"), body = make("div"); return { head, body,
    all: make("div", { class: "panel" }, head, body, make("p", { class: "note" }, note)) }; };
  const teacher = panel("the teacher, whose weights stay as they are"), student = panel("the student, which learns to say the same"),
    push = panel("T × (student − teacher): ◀ a step raises this logit, or lowers it ▶");
  const large = make("canvas", { width: 112, height: 112, class: "large", role: "img" });
  const caption = make("p", { class: "note" });
  const small = labels.map((label, i) => tile("", ""));
  const buttons = labels.map((label, i) => make("button", { type: "button", class: "thumb", "aria-label": `picture ${i + 1}: ${classes[label]}`,
    title: classes[label], "aria-pressed": "false", click: () => change({ picture: i }) }, small[i]));
  small.forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
  const state = make("p", { class: "state", role: "status" });
  root.append(
    make("div", { class: "bar" }, make("div", { role: "group", "aria-label": "picture", class: "choice thumbs" }, ...buttons)),
    make("div", { class: "bar" }, controls.temperature,
      make("button", { type: "button", click: () => change(Object.fromEntries(model.get("data").controls.map((c) => [c.name, c.value]))) }, "reset")),
    make("div", { class: "shown" }, large, caption),
    make("div", { class: "panels" }, teacher.all, student.all, push.all),
    state);

  async function redraw() {
    const { picture, temperature } = model.get("setting"), found = answer(), label = labels[picture];
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === picture)));
    teacher.head.textContent = `Teacher at T = ${temperature}: ${found.entropy.teacher.toFixed(2)} nats`;
    student.head.textContent = `Student at T = ${temperature}: ${found.entropy.student.toFixed(2)} nats`;
    push.head.textContent = `Gradient of KD: length ${found.length.toFixed(2)}`;
    teacher.body.replaceChildren(drawBars(classes, label, found.teacher, "teacher"));
    student.body.replaceChildren(drawBars(classes, label, found.student, "student"));
    push.body.replaceChildren(drawGradient(classes, label, found.gradient, most[picture] || 1));
    caption.replaceChildren(make("strong", {}, `label: ${classes[label]}`), make("br"), `The bars below are probabilities; their entropy is at most ln ${classes.length} = ${Math.log(classes.length).toFixed(2)} nats, where all are equal.`);
    large.setAttribute("aria-label", `the picture, labelled ${classes[label]}`);
    state.textContent = found.text;
    if (!tiles.place.size && !(await tiles.load(found.sprites))) return;
    small.forEach((canvas, i) => tiles.paint(canvas, i));
    tiles.paint(large, model.get("setting").picture);
  }

  return redraw;
}) };
export default drawing;
