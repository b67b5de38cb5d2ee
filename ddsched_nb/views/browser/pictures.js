// What is drawn on canvas: the line of a model's limit, and the band of idle slots by cause.

// A model's limit as a line over what is in flight as a shade, with ticks where it was refused.
function drawLane(canvas, history, index, cap, ink) {
  const found = surface(canvas);
  if (!found || !history.length) return;
  const { pen, width, height } = found;
  const points = history.filter((frame) => frame.pools[index]);
  if (!points.length) return;
  const start = history[0].t;
  const span = Math.max(1e-9, history[history.length - 1].t - start);
  const x = (t) => ((t - start) / span) * (width - 1);
  const y = (slots) => height - 1 - (Math.min(slots, cap) / Math.max(1, cap)) * (height - 3);
  pen.fillStyle = ink.brand;
  pen.globalAlpha = 0.35;
  pen.beginPath();
  pen.moveTo(x(points[0].t), height);
  let last = points[0].pools[index][0];
  for (const frame of points) {
    pen.lineTo(x(frame.t), y(last));
    last = frame.pools[index][0];
    pen.lineTo(x(frame.t), y(last));
  }
  pen.lineTo(x(points[points.length - 1].t), height);
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = ink.text;
  pen.lineWidth = 1.2;
  pen.beginPath();
  let level = null;
  for (const frame of points) {
    const limit = frame.pools[index][1];
    if (level !== null) pen.lineTo(x(frame.t), y(level));
    pen[level === null ? "moveTo" : "lineTo"](x(frame.t), y(limit));
    level = limit;
  }
  pen.stroke();
  pen.strokeStyle = ink.bad;
  points.forEach((frame, i) => {
    if (i && frame.pools[index][4] > points[i - 1].pools[index][4]) {
      pen.beginPath();
      pen.moveTo(x(frame.t), 0);
      pen.lineTo(x(frame.t), 5);
      pen.stroke();
    }
  });
}

// Idle slots of all models over time, stacked by cause; `causes` in the order of the stack.
function drawBand(canvas, history, causes, most, ink) {
  const found = surface(canvas);
  if (!found || history.length < 2) return;
  const { pen, width, height } = found;
  const start = history[0].t;
  const span = Math.max(1e-9, history[history.length - 1].t - start);
  const x = (t) => ((t - start) / span) * width;
  const fills = causes.map((_, i) => texture(pen, i));
  for (let i = 1; i < history.length; i += 1) {
    const left = x(history[i - 1].t);
    const right = x(history[i].t);
    const slots = Object.fromEntries(history[i].idle);
    let base = 0;
    causes.forEach((cause, c) => {
      const size = ((slots[cause] || 0) / Math.max(1, most)) * (height - 1);
      if (!size) return;
      pen.fillStyle = fills[c];
      pen.fillRect(left, height - base - size, right - left + 0.6, size);
      base += size;
    });
  }
  pen.strokeStyle = ink.soft;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(0, height - 0.5);
  pen.lineTo(width, height - 0.5);
  pen.stroke();
}

function inks(element) {
  const style = getComputedStyle(element);
  const of = (name) => style.getPropertyValue(name).trim();
  return { text: style.color, soft: of("--dds-soft"), brand: of("--dds-brand"), bad: of("--dds-bad") };
}
