// Plays what happened: one clock, one or two runs side by side, at any speed, forth and back.

const SPEEDS = [0.25, 0.5, 1, 2, 5, 10, 30, 100];

class Replay {
  constructor() {
    this.tracks = [];
    this.at = 0;
    this.end = 0;
    this.playing = false;
    this.speed = 1;
  }

  take(message) {
    if (message.k !== "replay") return;
    this.tracks = message.tracks.map((track) => {
      const frames = [];
      for (const change of track.frames) {
        frames.push(frames.length ? patched(frames[frames.length - 1], change) : change);
      }
      return { ...track, frames };
    });
    this.end = Math.max(...this.tracks.map((track) => track.frames[track.frames.length - 1].t), 0);
    this.speed = SPEEDS.reduce((best, each) =>
      Math.abs(this.end / each - 20) < Math.abs(this.end / best - 20) ? each : best);
    this.refusals = this.tracks.flatMap((track) => track.refusals).sort((a, b) => a - b);
  }

  // The frames up to now, of one run; a run that is over stays at its end.
  moment(track) {
    let low = 0;
    let high = track.frames.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (track.frames[middle].t <= this.at + 1e-9) low = middle;
      else high = middle - 1;
    }
    const notes = track.notes.filter(([at]) => at <= this.at + 1e-9);
    return {
      shape: track.shape,
      frame: track.frames[low],
      history: track.frames.slice(0, low + 1),
      notes: notes.slice(-NOTES),
      errors: track.errors.filter(([at]) => at <= this.at + 1e-9).slice(-5).map(([, ...rest]) => rest),
    };
  }

  view(el, ask) {
    const panels = this.tracks.map((track) => new Panel(track.name));
    const play = h("button", { type: "button", onclick: () => this.toggle(ask) });
    const range = h("input", {
      type: "range", min: 0, max: Math.max(this.end, 1e-6), step: "any",
      "aria-label": "instant of the run, in seconds",
      oninput: () => this.seek(Number(range.value), ask),
      onkeydown: (event) => this.step(event, ask),
    });
    const time = h("span", { class: "dds-time" });
    const speed = h("select", { "aria-label": "speed", onchange: () => {
      this.speed = Number(speed.value);
    } }, ...SPEEDS.map((each) => h("option", { value: each }, `${each} \u00d7`)));
    speed.value = String(this.speed);
    const jump = h("button", { type: "button", onclick: () => this.jump(ask) }, "Next refusal");
    jump.disabled = !this.refusals.length;
    el.append(
      h("div", { class: "dds-player", role: "group", "aria-label": "replay" },
        play, speed, range, time, jump),
      h("div", { class: panels.length > 1 ? "dds-side" : "" }, ...panels.map((p) => p.element)),
    );
    return () => {
      this.tick(ask);
      say(play, this.playing ? "\u2016 Stop" : "\u25b6 Play");
      if (Number(range.value) !== this.at) range.value = String(this.at);
      range.setAttribute("aria-valuetext", `${this.at.toFixed(2)} of ${this.end.toFixed(2)} seconds`);
      say(time, `${this.at.toFixed(2)} / ${this.end.toFixed(2)} s`);
      panels.forEach((panel, i) => panel.draw(this.moment(this.tracks[i])));
    };
  }

  toggle(ask) {
    this.playing = !this.playing;
    if (this.playing && this.at >= this.end) this.at = 0;
    this.last = performance.now();
    ask();
  }

  tick(ask) {
    if (!this.playing) return;
    const now = performance.now();
    this.at = Math.min(this.end, this.at + ((now - this.last) / 1000) * this.speed);
    this.last = now;
    this.playing = this.at < this.end;
    if (this.playing) ask();
  }

  seek(at, ask) {
    this.at = Math.min(this.end, Math.max(0, at));
    ask();
  }

  step(event, ask) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.seek(this.at + (by * this.end) / 100, ask);
  }

  jump(ask) {
    const next = this.refusals.find((at) => at > this.at + 1e-6);
    this.playing = false;
    this.seek(next === undefined ? this.refusals[0] : next, ask);
  }
}
