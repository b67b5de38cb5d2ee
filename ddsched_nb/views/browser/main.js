// What the kernel says and what a browser shows of it. Live: frames come as changes of the frame
// before. Replay: all frames come at once, and the browser plays them by itself.

const ROWS = ["columns", "pools", "flows"];
const HISTORY = 480;

function patched(frame, change) {
  const next = { ...frame };
  for (const [name, value] of Object.entries(change)) {
    if (ROWS.includes(name) && !Array.isArray(value)) {
      next[name] = [...next[name]];
      for (const [index, row] of Object.entries(value)) next[name][index] = row;
    } else next[name] = value;
  }
  return next;
}

// Keeps the shape of a curve with half of its points, once there are too many.
function thinned(history) {
  return history.length <= HISTORY ? history : history.filter((_, i) => i % 2 === 0);
}

class Live {
  constructor() {
    this.data = null;
  }

  take(message) {
    if (message.k === "start") {
      this.data = {
        shape: message.shape,
        frame: message.frame,
        history: message.history,
        notes: message.notes,
        errors: message.errors,
      };
    } else if (message.k === "change" && this.data) {
      const { notes, errors, ...change } = message.frame;
      const frame = patched(this.data.frame, change);
      const history = thinned([...this.data.history, frame]);
      this.data = { ...this.data, frame, history };
      if (notes) this.data.notes = notes;
      if (errors) this.data.errors = errors;
    }
  }

  view(el) {
    const panel = new Panel();
    el.append(panel.element);
    return () => this.data && panel.draw(this.data);
  }
}

function draws(el, paint) {
  let asked = 0;
  const now = () => {
    asked = 0;
    paint();
  };
  // Messages come as they like; the screen is painted once a frame, and not while it is hidden.
  const ask = () => {
    if (!asked) asked = requestAnimationFrame(now);
  };
  const seen = new ResizeObserver(ask);
  seen.observe(el);
  const stop = () => {
    seen.disconnect();
    cancelAnimationFrame(asked);
  };
  return { ask, stop };
}

export default () => {
  let store = null;
  const painters = new Set();
  return {
    initialize({ model }) {
      const first = model.get("first");
      store = first.k === "replay" ? new Replay() : new Live();
      store.take(first);
      const heard = (message) => {
        store.take(message);
        painters.forEach((ask) => ask());
      };
      const changed = () => heard(model.get("first"));
      model.on("msg:custom", heard);
      model.on("change:first", changed);
      // What was sent before this page was there is asked for.
      model.send({ k: "hello" });
      return () => {
        model.off("msg:custom", heard);
        model.off("change:first", changed);
      };
    },
    render({ el }) {
      el.classList.add("ddsched");
      const root = h("div", { class: "dds-root" });
      el.append(root);
      const everywhere = () => painters.forEach((each) => each());
      const { ask, stop } = draws(el, store.view(root, everywhere));
      painters.add(ask);
      ask();
      return () => {
        painters.delete(ask);
        stop();
      };
    },
  };
};
