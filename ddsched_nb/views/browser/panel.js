// One run as it stands: from a shape and a frame to a page. Elements are made once and then kept.

const SIGNS = {
  running: "\u25b6",
  paused: "\u2016",
  cancelling: "\u25a0",
  finished: "\u2713",
  failed: "\u2715",
  cancelled: "\u25a0",
  stalled: "!",
  timed_out: "!",
};
const ENDED = new Set(["finished", "failed", "cancelled", "stalled", "timed_out"]);
const BROKEN = new Set(["failed", "stalled", "timed_out"]);
const CAUSES = 6;
const NOTES = 6;

class Panel {
  constructor(name) {
    this.shape = null;
    this.sign = h("b", { "aria-hidden": "true" });
    this.word = h("span", {});
    this.state = h("span", { class: "dds-state", role: "status" }, this.sign, this.word);
    this.figures = h("div", { class: "dds-figures" });
    this.work = new Bar(["pale", "done", "lost"], "all work");
    this.columns = h("tbody", {});
    this.pools = h("tbody", {});
    this.flows = h("tbody", {});
    this.groups = h("div", { class: "dds-groups" });
    this.band = h("canvas", { class: "dds-band", role: "img" });
    this.legend = h("ul", { class: "dds-legend" });
    this.notes = h("ol", { class: "dds-notes", role: "log", "aria-live": "off" });
    this.errors = h("div", { class: "dds-errors" });
    this.waiting = h("p", { class: "dds-soft" }, "No model has been called yet.");
    const part = (title, ...inside) =>
      h("section", { "aria-label": title }, h("h4", {}, title), ...inside);
    this.parts = {
      columns: part("Columns", table("Progress of each column",
        [["column", ""], ["", "dds-wide"], ["rows", ""], ["running", ""]], this.columns)),
      pools: part("Models", this.waiting, table("Slots, limit and refusals of each model",
        [["model", ""], ["slots", "dds-lane"], ["over time", "dds-lane"], ["in use", ""],
          ["limit", ""], ["cap", ""], ["waiting", ""], ["refused", ""], ["cooldown", ""]],
        this.pools)),
      idle: part("Idle slots of the models, by cause", this.band, this.legend),
      flows: part("Ready tasks, by flow", table("Ready tasks and slots of each flow",
        [["flow", ""], ["ready", ""], ["slots", ""], ["share", ""], ["debt", ""]], this.flows)),
      groups: part("Row groups", this.groups),
      notes: part("What happened", this.notes),
    };
    this.parts.pools.className = "dds-models";
    this.element = h(
      "div",
      { class: "dds-panel", "aria-label": name || "run" },
      h("div", { class: "dds-top" }, name ? h("h3", {}, name) : "", this.state, this.figures),
      h("div", { class: "dds-all" }, this.work.element),
      this.errors,
      h("div", { class: "dds-body" }, this.parts.columns, this.parts.pools),
      h("div", { class: "dds-body" }, this.parts.idle, this.parts.groups),
      h("div", { class: "dds-body" }, this.parts.notes, this.parts.flows),
    );
  }

  reshape(shape) {
    if (this.shape === shape) return;
    this.shape = shape;
    this.columnRows = shape.columns.map(([name, model]) => this.columnRow(name, model));
    this.columns.replaceChildren(...this.columnRows.map((row) => row.element));
    this.poolRows = shape.pools.map((name) => this.poolRow(name));
    this.pools.replaceChildren(...this.poolRows.map((row) => row.element));
    this.flowRows = shape.flows.map((name) => this.plainRow(name, 4));
    this.flows.replaceChildren(...this.flowRows.map((row) => row.element));
    this.waiting.hidden = shape.pools.length > 0;
    this.pools.parentElement.hidden = !shape.pools.length;
    this.groupBars = null;
  }

  plainRow(name, cells, ...before) {
    const made = Array.from({ length: cells }, () => h("td", {}));
    const head = h("th", { scope: "row", title: name }, name);
    return { element: h("tr", {}, head, ...before, ...made), head, cells: made };
  }

  columnRow(name, model) {
    const bar = new Bar(["done"], name);
    const row = this.plainRow(name, 2, h("td", { class: "dds-wide" }, bar.element));
    if (model) row.head.append(h("span", { class: "dds-soft" }, ` ${model}`));
    return { ...row, bar };
  }

  poolRow(name) {
    const bar = new Bar(["pale", "done", "mark"], name);
    const lane = h("canvas", { class: "dds-spark", role: "img", "aria-label": `limit of ${name}` });
    const cells = [h("td", { class: "dds-lane" }, bar.element), h("td", { class: "dds-lane" }, lane)];
    return { ...this.plainRow(name, 6, ...cells), bar, lane };
  }

  draw({ shape, frame, history, notes, errors }) {
    this.reshape(shape);
    const ended = ENDED.has(frame.state);
    this.element.dataset.state = frame.state;
    say(this.sign, SIGNS[frame.state] || "?");
    const word = frame.state.replace("_", " ");
    say(this.word, word[0].toUpperCase() + word.slice(1));
    this.drawFigures(frame, ended);
    this.drawColumns(frame);
    this.drawPools(frame, history, ended);
    this.drawGroups(frame, ended);
    this.drawIdle(frame, history);
    this.drawFlows(frame, ended);
    this.drawNotes(notes);
    this.drawErrors(frame, errors);
  }

  drawFigures(frame, ended) {
    const [finished, dropped, deferred] = frame.rows;
    const rows = this.shape.rows;
    const parts = [`${count(finished)} of ${count(rows)} row${rows === 1 ? "" : "s"}`];
    if (dropped) parts.push(`${count(dropped)} dropped`);
    if (deferred) parts.push(`${count(deferred)} deferred`);
    parts.push(clock(frame.t));
    if (frame.rate) parts.push(`${short(frame.rate)} rows/s`);
    if (!ended && frame.left && frame.left[1] >= 1) {
      const [low, high] = frame.left.map(clock);
      parts.push(low === high ? `about ${low} left` : `${low} to ${high} left`);
    }
    say(this.figures, parts.join(" \u00b7 "));
    const all = Math.max(1, rows);
    const said = `${share(frame.work)} of the work done; ${finished} rows finished, `
      + `${dropped} dropped, of ${rows}`;
    this.work.set([frame.work, finished / all, dropped / all], frame.work, said);
  }

  drawColumns(frame) {
    frame.columns.forEach(([done, running], i) => {
      const { bar, cells } = this.columnRows[i];
      const part = this.shape.rows ? done / this.shape.rows : 0;
      bar.set([part], part, share(part));
      say(cells[0], `${count(done)} / ${count(this.shape.rows)}`);
      say(cells[1], running ? count(running) : "");
    });
  }

  drawPools(frame, history, ended) {
    const ink = inks(this.element);
    frame.pools.forEach(([used, limit, cap, waiting, refused, until, probing], i) => {
      const { bar, cells, lane } = this.poolRows[i];
      const most = Math.max(1, cap);
      const said = `${used} of ${cap} slots in use, limit ${limit}`;
      bar.set([limit / most, used / most, limit / most], used / most, said);
      const left = ended ? 0 : Math.max(0, until - frame.t);
      const cooling = left > 0 ? `${left.toFixed(1)} s` : "\u2013";
      [used, limit, cap, waiting, refused].forEach((n, c) => say(cells[c], count(n)));
      say(cells[5], probing && !ended ? `probing ${cooling}` : cooling);
      cells[5].className = left > 0 || (probing && !ended) ? "dds-warn" : "dds-soft";
      drawLane(lane, history, i, cap, ink);
    });
  }

  drawGroups(frame, ended) {
    const [finished, open, target, cap] = frame.groups;
    const head = `${count(finished)} of ${count(this.shape.groups)} finished`;
    const more = ended ? "" : `, ${count(open)} open; ${count(target)} may be, at most ${count(cap)}`;
    if (!this.groupBars) {
      this.groupHead = h("span", {});
      this.groupBars = Array.from({ length: 8 }, () => {
        const bar = new Bar(["done"], "row group");
        const name = h("span", {});
        return { bar, name, element: h("span", { class: "dds-group" }, name, bar.element) };
      });
      this.groupMore = h("span", { class: "dds-soft" });
      const bars = this.groupBars.map((each) => each.element);
      this.groups.replaceChildren(this.groupHead, ...bars, this.groupMore);
    }
    say(this.groupHead, head + more);
    this.groupBars.forEach(({ bar, name, element }, i) => {
      const group = frame.opened[i];
      show(element, Boolean(group));
      if (!group) return;
      say(name, `#${group[0]}`);
      bar.label = `row group ${group[0]}`;
      bar.set([group[1]], group[1], share(group[1]));
    });
    const hidden = open - frame.opened.length;
    say(this.groupMore, hidden > 0 ? `and ${count(hidden)} more` : "");
  }

  drawIdle(frame, history) {
    show(this.parts.idle, frame.pools.length > 0);
    // The order of causes is that of their first showing, so that no band changes its texture.
    const total = new Map();
    let most = 1;
    for (const { idle, pools } of history) {
      for (const [cause, slots] of idle) total.set(cause, (total.get(cause) || 0) + slots);
      most = Math.max(most, pools.reduce((sum, pool) => sum + (pool[2] || 0), 0));
    }
    this.known = (this.known || []).filter((cause) => total.has(cause));
    for (const cause of total.keys()) if (!this.known.includes(cause)) this.known.push(cause);
    const now = Object.fromEntries(frame.idle);
    drawBand(this.band, history, this.known, most, inks(this.element));
    const key = JSON.stringify([this.known.slice(0, CAUSES), now]);
    if (key === this.legendKey) return;
    this.legendKey = key;
    const items = this.known.slice(0, CAUSES).map((cause, i) => {
      const swatch = h("canvas", { width: 14, height: 10, "aria-hidden": "true" });
      const pen = swatch.getContext("2d");
      pen.fillStyle = texture(pen, i);
      pen.fillRect(0, 0, 14, 10);
      const slots = now[cause] ? ` ${now[cause]}` : "";
      return h("li", {}, swatch, `${words(cause)}${slots}`);
    });
    const hidden = this.known.length - CAUSES;
    if (hidden > 0) items.push(h("li", { class: "dds-soft" }, `and ${hidden} more`));
    this.legend.replaceChildren(...items);
    const said = frame.idle.map(([cause, slots]) => `${words(cause)} ${slots}`).join(", ");
    this.band.setAttribute("aria-label", `idle slots by cause over time; now: ${said || "none"}`);
  }

  drawFlows(frame, ended) {
    show(this.parts.flows, this.shape.flows.length > 0 && !ended);
    frame.flows.forEach((values, i) => {
      values.forEach((n, c) => say(this.flowRows[i].cells[c], count(n)));
      this.flowRows[i].cells[3].className = values[3] ? "dds-warn" : "dds-soft";
    });
  }

  drawNotes(notes) {
    show(this.parts.notes, notes.length > 0);
    const last = notes.slice(-NOTES);
    const key = JSON.stringify(last);
    if (key === this.noteKey) return;
    this.noteKey = key;
    this.notes.replaceChildren(
      ...last.map(([at, text, times]) =>
        h("li", {}, h("span", { class: "dds-soft" }, `${at.toFixed(1)} s `), text,
          times > 1 ? h("span", { class: "dds-soft" }, ` \u00d7 ${count(times)}`) : "")),
    );
  }

  drawErrors(frame, errors) {
    const key = JSON.stringify([errors, frame.error, frame.state, frame.lost]);
    if (key === this.errorKey) return;
    this.errorKey = key;
    const items = [];
    if (frame.error && BROKEN.has(frame.state)) {
      const head = `Run ${frame.state.replace("_", " ")}: `;
      items.push(h("div", { class: "dds-error dds-bad", role: "alert" }, h("b", {}, head), frame.error));
    }
    for (const [where, reason] of errors) {
      items.push(h("div", { class: "dds-error", role: "note" }, h("b", {}, `${where}: `), reason));
    }
    if (frame.lost) {
      const text = `A listener raised, and lost ${count(frame.lost)} events; see the log.`;
      items.push(h("div", { class: "dds-error", role: "note" }, text));
    }
    this.errors.replaceChildren(...items);
  }
}
