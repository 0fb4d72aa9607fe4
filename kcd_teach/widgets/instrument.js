// @ts-check
// What all instruments share: elements, controls, small pictures, and a page that has no kernel.
// A drawing file follows this one in the same module and ends with `export default { render: instrument(draw) }`.

/**
 * @typedef {Object} Model  what a widget has in JupyterLab, and `Page` on a page without a kernel
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, call: () => void) => void} on
 *
 * @typedef {{name: string, label: string, unit: string, options: any[], value: any, offered?: any[]}} Control
 * @typedef {{ids: number[], columns: number, size: [number, number], file: DataView | string}} Sprites
 * @typedef {{type: string, shape: number[], bytes: DataView | string}} Packed
 */

/** An element of HTML with attributes and children; an attribute that is a function listens to the event of its name.
 * @param {string} tag @param {Object<string, any>} [attributes] @param {...(Node | string)} children @returns {any} */
function make(tag, attributes = {}, ...children) {
  const element = filled(document.createElement(tag), attributes, children);
  if (tag === "button" || tag === "input" || "tabindex" in attributes) element.addEventListener("keydown", keep);
  return element;
}

/** Keep the keys that move a control from JupyterLab, which would take them for its cells; all others are its own.
 * @param {KeyboardEvent} event */
function keep(event) {
  const modified = event.ctrlKey || event.metaKey || event.altKey || (event.shiftKey && event.key === "Enter");
  if (!modified && /^(Arrow.*|Home|End|Page.*|Enter| )$/.test(event.key)) event.stopPropagation();
}

/** An element of SVG. @param {string} tag @param {Object<string, any>} [attributes] @param {...(Node | string)} children
 * @returns {any} */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** @param {Element} element @param {Object<string, any>} attributes @param {(Node | string)[]} children */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Bytes that came from Python, or as text in a page. @param {DataView | string} bytes @returns {Uint8Array} */
function bytesOf(bytes) {
  if (typeof bytes === "string") return Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The typed array of a packed one. @param {Packed} packed @returns {any} */
function unpack(packed) {
  const kinds = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
  const bytes = bytesOf(packed.bytes);
  const aligned = bytes.byteOffset % 4 ? bytes.slice() : bytes;
  return new kinds[packed.type](aligned.buffer, aligned.byteOffset, aligned.byteLength / kinds[packed.type].BYTES_PER_ELEMENT);
}

/** Small pictures of samples, once they are decoded: `paint(canvas, id)` draws one of them over all of a canvas. */
class Tiles {
  constructor() {
    this.place = new Map();
    this.asked = 0;
  }

  /** Load a sheet in place of the others; true if it is still the newest one when it is there. @param {Sprites} sprites */
  async load(sprites) {
    const asked = (this.asked += 1);
    const sheet = await createImageBitmap(new Blob([bytesOf(sprites.file)]));
    if (asked !== this.asked) return false;
    this.place = new Map();
    this.keep(sprites, sheet);
    return true;
  }

  /** Load a sheet beside those that are there. @param {Sprites} sprites */
  async add(sprites) { this.keep(sprites, await createImageBitmap(new Blob([bytesOf(sprites.file)]))); }

  /** @param {Sprites} sprites @param {ImageBitmap} sheet */
  keep({ ids, columns, size: [width, height] }, sheet) {
    ids.forEach((id, at) => this.place.set(id, [sheet, (at % columns) * width, Math.floor(at / columns) * height, width, height]));
  }

  /** @param {HTMLCanvasElement} canvas @param {number} id @param {number} [strength] of 1 hides what is there already */
  paint(canvas, id, strength = 1) {
    const from = this.place.get(id);
    if (!from) return;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.globalAlpha = strength;
    pen.drawImage(...from, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 1;
  }
}

/** A canvas for one small picture. @param {string} role frames it @param {string} name for those who cannot see it */
function tile(role, name) {
  return make("canvas", { width: 56, height: 56, class: `tile ${role}`, role: "img", "aria-label": name });
}

/** A control: a slider over its options if they are numbers, otherwise buttons of which one is pressed.
 * @param {Control} control @param {() => any} read @param {(value: any) => void} write
 * @returns {{element: HTMLElement, show: () => void}} */
function controlFor(control, read, write) {
  const unit = control.unit ? ` ${control.unit}` : "";
  const alone = control.offered && control.offered.length < 2; // a page without a kernel holds this value only
  const offered = alone ? control.options : control.offered ?? control.options;
  if (typeof control.options[0] === "number") {
    const shown = make("output");
    const slider = make("input", {
      type: "range", min: 0, max: offered.length - 1, step: 1, "aria-label": control.label,
      disabled: alone || offered.length < 2, input: () => write(offered[Number(slider.value)]),
      title: alone ? "needs a running notebook" : undefined,
    });
    const show = () => {
      slider.value = String(Math.max(offered.indexOf(read()), 0));
      slider.setAttribute("aria-valuetext", `${read()}${unit}`);
      shown.textContent = `${read()}${unit}`;
    };
    return { element: make("label", { class: `slider ${control.name}` }, make("span", {}, control.label), slider, shown), show };
  }
  const buttons = offered.map((option) =>
    make("button", { type: "button", "aria-pressed": "false", disabled: alone, click: () => write(option),
      title: alone ? "needs a running notebook" : undefined }, String(option)));
  const group = make("div", { role: "group", "aria-label": control.label, class: "choice" },
    make("span", {}, control.label), ...buttons);
  return { element: group, show: () => buttons.forEach((button, at) =>
    button.setAttribute("aria-pressed", String(offered[at] === read()))) };
}

/** Buttons that play, pause and step through the options of a control, beside its slider.
 * @param {Control} control @param {HTMLElement} slider @param {() => any} read @param {(value: any) => void} write
 * @param {(value: any) => number} dwell milliseconds until the next step @returns {{element: HTMLElement, show: () => void}} */
function playBar(control, slider, read, write, dwell) {
  const options = control.offered ?? control.options;
  let timer = 0;
  const at = () => options.indexOf(read());
  const step = (by) => write(options[Math.min(Math.max(at() + by, 0), options.length - 1)]);
  const pause = () => { clearTimeout(timer); timer = 0; show(); };
  const tick = () => {
    if (!play.isConnected || at() === options.length - 1) return pause();
    step(1);
    timer = setTimeout(tick, dwell(read()));
  };
  const play = make("button", { type: "button", class: "play", "aria-pressed": "false", disabled: options.length < 2, click: () => {
    if (timer) return pause();
    if (at() === options.length - 1) write(options[0]);
    timer = setTimeout(tick, 300);
    show();
  } });
  const back = make("button", { type: "button", "aria-label": "one step back", click: () => { pause(); step(-1); } }, "\u25c0");
  const on = make("button", { type: "button", "aria-label": "one step on", click: () => { pause(); step(1); } }, "\u25b6");
  for (const taken of ["pointerdown", "input"]) slider.addEventListener(taken, pause);
  const show = () => {
    play.setAttribute("aria-pressed", String(Boolean(timer)));
    play.textContent = timer ? "pause" : "play";
    back.disabled = at() === 0;
    on.disabled = at() === options.length - 1;
  };
  return { element: make("div", { class: "choice" }, play, back, on, slider), show };
}

/** Move a picture smoothly: the result, called with milliseconds, calls `draw` with shares that grow to 1.
 * @param {(share: number) => void} draw @returns {(ms: number) => void} */
function motion(draw) {
  let frame = 0;
  return (ms) => {
    cancelAnimationFrame(frame);
    if (!ms || matchMedia("(prefers-reduced-motion: reduce)").matches) return draw(1);
    const start = performance.now();
    const next = (now) => {
      const share = Math.min(Math.max((now - start) / ms, 0.02), 1);
      draw(share * (2 - share));
      if (share < 1) frame = requestAnimationFrame(next);
    };
    frame = requestAnimationFrame(next);
  };
}

/** Keep a canvas as sharp as the screen, and redraw it when its size or the colours of the page change.
 * @param {HTMLCanvasElement} canvas @param {() => void} draw */
function watch(canvas, draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  new ResizeObserver(() => {
    const sharp = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * sharp);
    canvas.height = Math.round(canvas.clientHeight * sharp);
    draw();
  }).observe(canvas);
  for (const element of [document.documentElement, document.body]) {
    new MutationObserver(draw).observe(element, { attributes: true, attributeFilter: ["class", "style", "data-theme", "data-jp-theme-light"] });
  }
}

/** The colours of the page as they are now, by their names in the style sheet. @param {Element} root @param {string[]} names */
function tints(root, names) {
  const style = getComputedStyle(root);
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** Make the render function of an instrument from one that builds it in an element and returns how to redraw it.
 * `answer()` is what belongs to the setting, from Python or from the answers that a fixed instrument holds itself.
 * @param {(frame: {model: Model, root: HTMLElement, controls: Object<string, HTMLElement>, change: Function,
 *   answer: () => any}) => () => void} build */
function instrument(build) {
  return ({ model, el }) => {
    const root = make("section", { class: "kcd", "aria-label": model.get("data").alt });
    for (const [role, tint] of Object.entries(model.get("data").palette)) root.style.setProperty(`--${role}`, tint);
    // After a restart of the kernel nobody answers, and nothing else in the page would say so.
    const lost = make("p", { class: "note", role: "status", hidden: true },
      "Python does not answer. It may be busy; if the kernel was restarted, run this cell again.");
    const asked = () => JSON.stringify(model.get("setting"));
    let answered = asked(), patience = 0;
    model.on("change:answer", () => { answered = asked(); lost.hidden = true; });
    const change = (values) => {
      clearTimeout(patience);
      patience = setTimeout(() => { lost.hidden = Boolean(model.get("data").answers) || asked() === answered; }, 3000);
      model.set("setting", { ...model.get("setting"), ...values });
      model.save_changes();
    };
    const controls = {};
    const shows = [];
    for (const control of model.get("data").controls) {
      const { element, show } = controlFor(control, () => model.get("setting")[control.name],
        (value) => change({ [control.name]: value }));
      controls[control.name] = element;
      shows.push(show);
    }
    const { answers, sprites } = model.get("data");
    const answer = () => answers
      ? { sprites, ...answers[JSON.stringify(Object.values(model.get("setting")))] } : model.get("answer");
    const redraw = build({ model, root, controls, change, answer });
    root.append(lost);
    el.replaceChildren(root);
    const all = () => { shows.forEach((show) => show()); redraw(); };
    model.on("change:setting", answers ? all : () => shows.forEach((show) => show()));
    if (!answers) model.on("change:answer", redraw);
    model.on("change:pinned", redraw);
    all();
  };
}

/** What stands for a widget where there is no kernel: it finds the answers in the page. @implements {Model} */
class Page {
  /** @param {{data: any, setting: any, answers: Object<string, any>, sprites: Sprites}} state */
  constructor(state) {
    this.answers = state.answers;
    this.sprites = state.sprites;
    this.listeners = {};
    const keys = Object.keys(state.answers).map((key) => JSON.parse(key));
    state.data.controls.forEach((control, at) => {
      control.offered = control.options.filter((option) => keys.some((key) => key[at] === option));
    });
    this.values = { data: state.data, setting: state.setting, pinned: {}, answer: this.find(state.setting) };
  }

  find(setting) { return { sprites: this.sprites, ...this.answers[JSON.stringify(Object.values(setting))] }; }
  get(name) { return this.values[name]; }
  on(event, call) { (this.listeners[event] ??= []).push(call); }
  save_changes() {}
  set(name, value) {
    this.values[name] = value;
    if (name === "setting") this.set("answer", this.find(value));
    (this.listeners[`change:${name}`] ?? []).forEach((call) => call());
  }
}

/** Bring an instrument to life in a page that holds its numbers. @param {string} name of its element @param {string} css
 * @param {any} state */
export function standalone(name, css, state) {
  const el = document.getElementById(name);
  if (!el) return;
  drawing.render({ model: new Page(state), el });
  el.prepend(make("style", {}, css));
}
