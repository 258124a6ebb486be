// One chart: uPlot with our colours, a legend that shows the newest values or those under the cursor, and a line at now.
import uPlot from "uplot";
import { timeOfDay } from "./format";
import { h, setText } from "./dom";
import { join, type Table } from "./series";

export interface Line {
  label: string;
  /** Name of a CSS colour variable. */
  color: string;
  width?: number;
  dash?: number[];
  /** Hold each value until the next one. */
  step?: boolean;
  /** Fill to zero. */
  fill?: boolean;
  /** Belongs to the band, and has no legend of its own. */
  edge?: "low" | "high";
}

export interface ChartSpec {
  label: string;
  lines: Line[];
  format(value: number): string;
  axis(value: number): string;
  log?: boolean;
  /** The smallest top of the axis. */
  atLeast?: number;
  /** Ticks at whole numbers only. */
  whole?: boolean;
  height: number;
}

/** Steps of the time axis, in seconds. */
const TIMES = [5, 10, 15, 30, 60, 120, 180, 300, 600, 1800, 3600, 7200, 21600, 86400];
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const SYNC = "foreshadow";

export class Chart {
  private plot: uPlot | undefined;
  private data: uPlot.AlignedData = [[]];
  private range: [number, number] = [0, 1];
  private now = 0;
  private readonly values: (HTMLElement | undefined)[];
  private readonly box: HTMLElement;

  constructor(root: HTMLElement, private readonly spec: ChartSpec) {
    this.values = spec.lines.map((l) => (l.edge ? undefined : h("b", {}, "–")));
    const legend = h("ul", { class: "legend" }, ...spec.lines.flatMap((l, i) => {
      const value = this.values[i];
      if (!value) return [];
      const swatch = h("i", { class: l.dash ? "dashed" : "" });
      swatch.style.setProperty("--swatch", `var(${l.color})`);
      return [h("li", {}, swatch, l.label, " ", value)];
    }));
    this.box = h("div", { class: "plot", role: "img", "aria-label": spec.label });
    this.box.style.height = `${spec.height}px`;
    root.replaceChildren(legend, this.box);
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: this.spec.height })).observe(this.box);
  }

  /** Draws tables joined on their x, one after another in the order of the lines. */
  draw(tables: Table[], range: [number, number], now: number): void {
    this.range = range;
    this.now = now;
    // An empty table still has its columns.
    this.data = join(tables.map(([x, ...columns]): Table => (x.length ? [x, ...columns] : [[now], ...columns.map(() => [null])])));
    if (!this.plot) this.plot = this.build();
    else this.plot.setData(this.data);
    this.legend();
  }

  /** Builds the plot again in the present colours. */
  restyle(): void {
    if (!this.plot) return;
    this.plot.destroy();
    this.plot = this.build();
  }

  private build(): uPlot {
    const css = getComputedStyle(document.documentElement);
    const color = (name: string) => css.getPropertyValue(name).trim();
    const axis: uPlot.Axis = {
      stroke: color("--quiet"), font: "11px system-ui, sans-serif", ticks: { show: false },
      grid: { stroke: color("--grid"), width: 1 },
    };
    const low = this.spec.lines.findIndex((l) => l.edge === "low") + 1, high = this.spec.lines.findIndex((l) => l.edge === "high") + 1;
    const band = low > 0 && high > 0 ? [{ series: [high, low] as [number, number], fill: color("--band") }] : [];
    return new uPlot({
      width: this.box.clientWidth, height: this.spec.height, legend: { show: false }, bands: band,
      cursor: { sync: { key: SYNC }, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true, range: () => this.range }, y: this.scale() },
      axes: [
        { ...axis, incrs: TIMES, size: 26, space: 62, values: (_, ticks) => ticks.map((t) => timeOfDay(t)) },
        { ...axis, ...(this.spec.whole ? { incrs: WHOLE } : {}), size: 52, space: this.spec.log || this.spec.whole ? 20 : 34, values: (_, ticks) => ticks.map((t) => (t === null ? "" : this.spec.axis(t))) },
      ],
      series: [{}, ...this.spec.lines.map((l) => this.series(l, color))],
      hooks: { draw: [(u) => this.nowLine(u, color("--quiet"))], setCursor: [() => this.legend()] },
    }, this.data, this.box);
  }

  private scale(): uPlot.Scale {
    if (this.spec.log) {
      // uPlot's ticks never end on a logarithmic axis that does not begin at a whole multiple of a power of ten.
      return { distr: 3, range: (_, min, max) => (min > 0 && max > 0 ? uPlot.rangeLog(min, max * 1.1, 10, false) : [0.001, 1]) };
    }
    return { range: (_, __, max) => [0, Math.max(this.spec.atLeast ?? 1, (max ?? 0) * 1.08)] };
  }

  private series(l: Line, color: (name: string) => string): uPlot.Series {
    const stroke = color(l.color);
    const s: uPlot.Series = { label: l.label, stroke: l.edge ? "transparent" : stroke, width: l.edge ? 0 : (l.width ?? 1.5), points: { show: false } };
    if (l.dash) s.dash = l.dash;
    if (l.fill) s.fill = `color-mix(in srgb, ${stroke} 14%, transparent)`;
    const stepped = uPlot.paths.stepped?.({ align: 1 });
    if (l.step && stepped) s.paths = stepped;
    return s;
  }

  private nowLine(u: uPlot, stroke: string): void {
    const x = u.valToPos(this.now, "x", true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return;
    u.ctx.save();
    u.ctx.strokeStyle = stroke;
    u.ctx.setLineDash([2, 3]);
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
    u.ctx.restore();
  }

  /** The value of each line under the cursor, or its newest. */
  private legend(): void {
    const at = this.plot?.cursor.idx ?? undefined;
    this.spec.lines.forEach((_, i) => {
      const el = this.values[i], column = this.data[i + 1];
      if (!el || !column) return;
      const value = at === undefined ? newestUntil(this.data[0], column, this.now) : nearest(column, at);
      setText(el, value === null || value === undefined ? "–" : this.spec.format(value));
    });
  }
}

type Column = uPlot.AlignedData[number] | (number | null | undefined)[];

/** The newest value up to now, or for a line that lies ahead its first one; null in a gap. */
function newestUntil(x: ArrayLike<number>, column: Column, now: number): number | null | undefined {
  for (let i = x.length - 1; i >= 0; i--) {
    if ((x[i] as number) <= now && column[i] !== undefined) return column[i];
  }
  return Array.prototype.find.call(column, (v: unknown) => v !== null && v !== undefined) as number | undefined;
}

/** The value at an index, or the one before it where the lines' x differ. */
function nearest(column: Column, at: number): number | null | undefined {
  for (let i = at; i >= 0 && i > at - 20; i--) if (column[i] !== undefined) return column[i];
  return undefined;
}
