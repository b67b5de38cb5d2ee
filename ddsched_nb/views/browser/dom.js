// Small helpers: elements, words, bars, textures. Nothing here knows what a run is.

const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A8A"];

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  // Text nodes only: whatever a user named cannot become markup.
  element.append(...children);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

const count = (n) => Math.round(n).toLocaleString("en-US");
const share = (part) => `${Math.floor(part * 100 + 1e-9)}%`;
const short = (n) => (n >= 9.95 ? count(n) : n.toFixed(n >= 0.995 ? 1 : 2));
const words = (cause) => cause.replaceAll("_", " ");

// A bar of parts that lie on each other, each a share of its width; `mark` is a thin line.
class Bar {
  constructor(kinds, label) {
    this.label = label;
    this.parts = kinds.map((kind) => h("i", { class: `dds-${kind}` }));
    this.element = h(
      "div",
      { class: "dds-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 },
      ...this.parts,
    );
  }

  set(shares, value, said) {
    shares.forEach((part, i) => {
      const where = `${(Math.min(1, Math.max(0, part)) * 100).toFixed(1)}%`;
      const side = this.parts[i].className === "dds-mark" ? "left" : "width";
      if (this.parts[i].style[side] !== where) this.parts[i].style[side] = where;
    });
    const text = `${this.label}: ${said}`;
    if (this.element.title === text) return;
    this.element.title = text;
    this.element.setAttribute("aria-label", text);
    this.element.setAttribute("aria-valuenow", Math.round(value * 100));
  }
}

function table(caption, heads, body) {
  const cells = heads.map(([name, kind]) => h("th", { scope: "col", class: kind }, name));
  return h(
    "table",
    {},
    h("caption", { class: "dds-unseen" }, caption),
    h("thead", {}, h("tr", {}, ...cells)),
    body,
  );
}

// A canvas as sharp as the screen, cleared. Null while it has no size, as in a hidden tab.
function surface(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return null;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

// Each kind has a colour and strokes of its own, so that colour is never needed to tell them apart.
const tiles = [];

function texture(pen, index) {
  const place = index % PALETTE.length;
  tiles[place] = tiles[place] || tile(place);
  return pen.createPattern(tiles[place], "repeat");
}

function tile(index) {
  const made = document.createElement("canvas");
  made.width = made.height = 8;
  const brush = made.getContext("2d");
  brush.fillStyle = PALETTE[index];
  brush.fillRect(0, 0, 8, 8);
  brush.strokeStyle = "rgba(255, 255, 255, 0.75)";
  brush.lineWidth = 1.4;
  const strokes = [
    [],
    [[0, 8, 8, 0], [-2, 2, 2, -2], [6, 10, 10, 6]],
    [[0, 4, 8, 4]],
    [[0, 0, 8, 8], [-2, 6, 2, 10], [6, -2, 10, 2]],
    [[4, 0, 4, 8]],
    [[0, 4, 8, 4], [4, 0, 4, 8]],
    [[3, 3, 5, 5], [3, 5, 5, 3]],
  ][index];
  for (const [x0, y0, x1, y1] of strokes) {
    brush.beginPath();
    brush.moveTo(x0, y0);
    brush.lineTo(x1, y1);
    brush.stroke();
  }
  return made;
}
