// Charts drawn by hand on canvas; colours come from the style sheet, so they follow the theme.

const still = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const charts = new Set();

const colours = new Map();
function colour(name) {
  if (!colours.has(name))
    colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return colours.get(name);
}
dark.addEventListener("change", () => {
  colours.clear();
  for (const chart of charts) chart.paint();
});

// One clock draws what is visible: smoothly, or four times a second for those who prefer less motion.
let drawn = 0;
function frame(now) {
  requestAnimationFrame(frame);
  if (now - drawn < (still.matches ? 250 : 30)) return;
  drawn = now;
  for (const chart of charts) if (chart.visible) chart.paint();
}
requestAnimationFrame(frame);

class Chart {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.visible = true;
    new IntersectionObserver(([entry]) => { this.visible = entry.isIntersecting; }).observe(canvas);
    charts.add(this);
  }

  paint() {
    const scale = devicePixelRatio || 1;
    const {clientWidth: width, clientHeight: height} = this.canvas;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    const context = this.context;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    this.draw(context, width, height, performance.now());
  }

  describe(text) {
    this.canvas.setAttribute("aria-label", text);
  }
}

// A round number at or above the value: 1, 2 or 5 times a power of ten.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

// Lines over the last seconds. Series: {colour, points: [[time, value]]}; a null value is a gap.
export class LineChart extends Chart {
  constructor(canvas, {series, seconds = 30, least, format, outliers = false, stroke = 2}) {
    super(canvas);
    this.series = series.map((name) => ({colour: name, points: []}));
    this.seconds = seconds;
    this.least = least;
    this.top = least;
    this.format = format;
    this.outliers = outliers;  // whether a few values may be above the top
    this.stroke = stroke;
    this.pointer = null;
    canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; });
  }

  add(index, value) {
    const {points} = this.series[index];
    points.push([performance.now(), value]);
    const oldest = performance.now() - (this.seconds + 2) * 1000;
    while (points.length && points[0][0] < oldest) points.shift();
  }

  draw(context, width, height, now) {
    // The scale glides to its new top: a jump would look like a change of the values.
    const target = ceiling(Math.max(this.least, this.highest() * 1.05));
    const left = Math.max(...[0, 0.5, 1].map((part) => context.measureText(this.format(target * part)).width)) + 12;
    const right = 6, top = 12, bottom = 20;
    const plot = {x: left, y: top, w: width - left - right, h: height - top - bottom};
    this.top = still.matches || Math.abs(target - this.top) < target / 200 ? target : this.top + (target - this.top) * 0.18;
    const x = (time) => plot.x + plot.w * (1 - (now - time) / (this.seconds * 1000));
    const y = (value) => plot.y + plot.h * (1 - value / this.top);

    this.grid(context, plot, y, target);
    context.save();
    context.beginPath();
    context.rect(plot.x, 0, plot.w + right, height);
    context.clip();
    for (const line of this.series) this.line(context, line, x, y, plot);
    context.restore();
    if (this.pointer !== null && this.pointer >= left) this.read(context, x, y, plot);
  }

  highest() {
    const values = this.series.flatMap(({points}) => points.map(([, value]) => value ?? 0)).sort((a, b) => a - b);
    if (!values.length) return 0;
    const most = values.at(-1);
    // One late datagram would flatten all the others to a line on the ground.
    return this.outliers ? Math.min(most, 4 * values[Math.floor((values.length - 1) * 0.95)] || most) : most;
  }

  grid(context, plot, y, target) {
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.lineWidth = 1;
    for (let step = 0; step <= 4; step++) {
      const value = target * step / 4, at = Math.round(y(value)) + 0.5;
      if (at < plot.y - 1) continue;
      context.strokeStyle = colour(step ? "grid" : "line");
      context.beginPath();
      context.moveTo(plot.x, at);
      context.lineTo(plot.x + plot.w, at);
      context.stroke();
      context.fillStyle = colour("soft");
      if (step % 2 === 0) context.fillText(this.format(value), plot.x - 8, at);
    }
    context.textBaseline = "alphabetic";
    for (let age = 0; age <= this.seconds; age += 10) {
      context.textAlign = age === 0 ? "right" : age === this.seconds ? "left" : "center";
      const at = plot.x + plot.w * (1 - age / this.seconds);
      context.fillText(age ? `${age} s ago` : "now", at, plot.y + plot.h + 16);
    }
  }

  line(context, {colour: name, points}, x, y, plot) {
    const runs = [[]];
    for (const [time, value] of points) {
      if (value === null) runs.push([]);
      else runs.at(-1).push([x(time), Math.max(y(value), plot.y - 4)]);
      if (value > this.top * 1.02) this.above(context, name, x(time), value, plot);
    }
    for (const run of runs) {
      if (!run.length) continue;
      const path = new Path2D();
      run.forEach(([px, py], index) => (index ? path.lineTo(px, py) : path.moveTo(px, py)));
      const area = new Path2D(path);
      area.lineTo(run.at(-1)[0], plot.y + plot.h);
      area.lineTo(run[0][0], plot.y + plot.h);
      const fill = context.createLinearGradient(0, plot.y, 0, plot.y + plot.h);
      fill.addColorStop(0, `color-mix(in srgb, ${colour(name)} 30%, transparent)`);
      fill.addColorStop(1, `color-mix(in srgb, ${colour(name)} 3%, transparent)`);
      context.fillStyle = fill;
      context.fill(area);
      context.strokeStyle = colour(name);
      context.lineWidth = this.stroke;
      context.lineJoin = "round";
      context.stroke(path);
    }
  }

  // A mark with the value where the line leaves the chart.
  above(context, name, px, value, plot) {
    context.fillStyle = colour(name);
    context.beginPath();
    context.moveTo(px - 4, 8);
    context.lineTo(px + 4, 8);
    context.lineTo(px, 1);
    context.fill();
    if (px < plot.x + 4) return;
    context.fillStyle = colour("soft");
    context.textAlign = px > plot.x + plot.w - 60 ? "right" : "left";
    context.textBaseline = "top";
    context.fillText(this.format(value), px + (context.textAlign === "left" ? 8 : -8), 0);
    context.textBaseline = "alphabetic";
  }

  // What the value was under the pointer.
  read(context, x, y, plot) {
    context.strokeStyle = colour("soft");
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(this.pointer, plot.y);
    context.lineTo(this.pointer, plot.y + plot.h);
    context.stroke();
    context.setLineDash([]);
    for (const {colour: name, points} of this.series) {
      let best = null;
      for (const point of points)
        if (point[1] !== null && (!best || Math.abs(x(point[0]) - this.pointer) < Math.abs(x(best[0]) - this.pointer))) best = point;
      if (!best || Math.abs(x(best[0]) - this.pointer) > 12) continue;
      const [px, py] = [x(best[0]), Math.max(plot.y, y(best[1]))], text = this.format(best[1]);
      const flip = px > plot.x + plot.w - 90, w = context.measureText(text).width + 14;
      context.fillStyle = colour(name);
      context.beginPath();
      context.arc(px, py, 4, 0, 7);
      context.fill();
      context.fillStyle = colour("ink");
      context.beginPath();
      context.roundRect(flip ? px - w - 8 : px + 8, py - 11, w, 22, 6);
      context.fill();
      context.fillStyle = colour("card");
      context.textAlign = "left";
      context.textBaseline = "middle";
      context.fillText(text, (flip ? px - w - 8 : px + 8) + 7, py + 1);
    }
  }
}

// One square a datagram: outlined while under way, filled when back, crossed out when lost.
export class DotGrid extends Chart {
  constructor(canvas) {
    super(canvas);
    this.items = [];
  }

  add(item) {
    this.items.push(item);
    if (this.items.length > 2000) this.items.splice(0, 1000);
  }

  draw(context, width, height) {
    const pitch = 13, size = 9;
    const columns = Math.floor((width + pitch - size) / pitch), rows = Math.floor((height + pitch - size) / pitch);
    // Whole rows move, not every square: the eye can follow what happens.
    const extra = Math.max(0, this.items.length - columns * rows);
    const shown = this.items.slice(Math.ceil(extra / columns) * columns);
    const inset = (width - (columns * pitch - pitch + size)) / 2;
    for (let index = 0; index < columns * rows; index++) {
      const x = inset + (index % columns) * pitch, y = Math.floor(index / columns) * pitch;
      const item = shown[index];
      context.beginPath();
      context.roundRect(x, y, size, size, 2.5);
      if (!item) {
        context.fillStyle = colour("grid");
        context.fill();
      } else if (item.state === "back") {
        context.fillStyle = colour("bi");
        context.fill();
      } else if (item.state === "lost") {
        context.strokeStyle = colour("bad");
        context.lineWidth = 1.8;
        context.beginPath();
        context.moveTo(x + 1.5, y + 1.5);
        context.lineTo(x + size - 1.5, y + size - 1.5);
        context.moveTo(x + size - 1.5, y + 1.5);
        context.lineTo(x + 1.5, y + size - 1.5);
        context.stroke();
      } else {
        context.strokeStyle = colour("bi");
        context.lineWidth = 1.3;
        context.stroke();
      }
    }
  }
}

// A bar a stream, in as many lanes as are needed at once.
export class Lanes extends Chart {
  constructor(canvas, seconds = 20) {
    super(canvas);
    this.seconds = seconds;
    this.bars = [];
  }

  // A bar is {kind, from, to, reset}; `to` is null while the stream is open.
  add(bar) {
    const busy = new Set(this.bars.filter((other) => other.to === null || other.to + 2500 > bar.from).map((other) => other.lane));
    bar.lane = 0;
    while (busy.has(bar.lane)) bar.lane++;
    this.bars.push(bar);
    const oldest = performance.now() - (this.seconds + 2) * 1000;
    this.bars = this.bars.filter(({to}) => to === null || to > oldest);
  }

  draw(context, width, height, now) {
    const bottom = 20, h = height - bottom;
    const lanes = Math.max(8, ...this.bars.map(({lane}) => lane + 1));
    const pitch = h / lanes, thick = Math.min(12, pitch * 0.66);
    const x = (time) => width * (1 - (now - time) / (this.seconds * 1000));
    context.strokeStyle = colour("grid");
    context.lineWidth = 1;
    for (let lane = 0; lane < lanes && pitch > 7; lane++) {
      const y = Math.round((lane + 0.5) * pitch) + 0.5;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
    }
    for (const {kind, from, to, lane, reset} of this.bars) {
      const begin = Math.max(-20, x(from)), end = Math.max(x(to ?? now), begin + thick);
      if (end < 0) continue;
      const y = (lane + 0.5) * pitch;
      context.fillStyle = colour(kind);
      context.globalAlpha = to === null ? 0.55 : 1;
      context.beginPath();
      context.roundRect(begin, y - thick / 2, Math.min(end, width + thick) - begin, thick, thick / 2);
      context.fill();
      context.globalAlpha = 1;
      if (!reset) continue;
      context.strokeStyle = colour("bad");
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(end + 4, y - 4);
      context.lineTo(end + 12, y + 4);
      context.moveTo(end + 12, y - 4);
      context.lineTo(end + 4, y + 4);
      context.stroke();
    }
    context.fillStyle = colour("soft");
    context.textBaseline = "alphabetic";
    for (let age = 0; age <= this.seconds; age += 5) {
      context.textAlign = age === 0 ? "right" : age === this.seconds ? "left" : "center";
      context.fillText(age ? `${age} s ago` : "now", width * (1 - age / this.seconds), height - 4);
    }
  }
}
