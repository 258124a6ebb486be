// From points to the columns a chart draws. A gap in the data is a null, and the line breaks there; it is never a zero.
import uPlot from "uplot";
import type { Forecast, SizingPoint, WindowPoint } from "./types";

/** x in Unix seconds, and one column of values per line. */
export type Table = [x: number[], ...columns: (number | null)[][]];

/** Puts tables on one x. A gap of one table stays a gap over the moments that only other tables have. */
export function join(tables: Table[]): uPlot.AlignedData {
  const expand = 2; // uPlot's NULL_EXPAND
  return uPlot.join(tables as uPlot.AlignedData[], tables.map((t) => t.map(() => expand)) as uPlot.JoinNullMode[][]);
}

/** Columns of windows at the end of each; where a window is missing a row of nulls stands. */
export function windowTable<P extends WindowPoint>(points: P[], ...pick: ((p: P) => number | null)[]): Table {
  const x: number[] = [];
  const columns: (number | null)[][] = pick.map(() => []);
  let previousEnd: number | undefined;
  for (const p of points) {
    if (previousEnd !== undefined && p.start - previousEnd > p.duration / 2) {
      x.push(previousEnd + p.duration / 2);
      columns.forEach((c) => c.push(null));
    }
    previousEnd = p.start + p.duration;
    x.push(previousEnd);
    pick.forEach((f, i) => columns[i]!.push(f(p)));
  }
  return [x, ...columns];
}

/** Columns of recommendations; where none came for longer than maxGap seconds a row of nulls stands. */
export function sizingTable(points: SizingPoint[], maxGap: number, ...pick: ((p: SizingPoint) => number | null)[]): Table {
  const x: number[] = [];
  const columns: (number | null)[][] = pick.map(() => []);
  for (const p of [...points].sort((a, b) => a.time - b.time)) {
    const last = x.at(-1);
    if (last !== undefined && p.time - last > maxGap) {
      x.push(last + maxGap);
      columns.forEach((c) => c.push(null));
    }
    x.push(p.time);
    pick.forEach((f, i) => columns[i]!.push(f(p)));
  }
  return [x, ...columns];
}

/** What had been forecast for each moment, one lead time before it. */
export function foreseenTable(points: SizingPoint[], maxGap: number): Table {
  return sizingTable(points.map((p) => ({ ...p, time: p.time + p.lead_time_seconds })), maxGap, (p) => p.forecast_per_second);
}

/** Mean, low and high of the forecast; the band is the outermost quantiles given. */
export function forecastTable(forecast: Forecast | undefined): Table {
  const points = forecast?.points ?? [];
  return [
    points.map((p) => Date.parse(p.start_time) / 1000),
    points.map((p) => p.mean_per_second),
    points.map((p) => p.quantiles[0]?.value_per_second ?? null),
    points.map((p) => p.quantiles.at(-1)?.value_per_second ?? null),
  ];
}

/** The forecast for a moment: the step it falls into, undefined beyond the horizon. */
export function forecastAt(forecast: Forecast, seconds: number): Forecast["points"][number] | undefined {
  return forecast.points.findLast((p) => {
    const start = Date.parse(p.start_time) / 1000;
    return start <= seconds && seconds < start + Math.max(forecast.step_seconds, 1e-9) * 1.5;
  });
}
