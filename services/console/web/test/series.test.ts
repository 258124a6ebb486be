import { describe, expect, it } from "vitest";
import { forecastAt, forecastTable, foreseenTable, join, sizingTable, windowTable } from "../src/series";
import type { Forecast, SizingPoint } from "../src/types";

const window = (start: number, value: number | null, duration = 1) => ({ environment: "production" as const, start, duration, revision: 1, value });
const sizing = (time: number, forecast: number | null) =>
  ({ generation: String(time), time, instances: 2, reactive: 3, hpa: null, forecast_per_second: forecast, quantile: 0.95, lead_time_seconds: 8, shadow_instances: 0 }) satisfies SizingPoint;

describe("windowTable", () => {
  it("breaks the line where a window is missing", () => {
    const [x, y] = windowTable([window(0, 5), window(1, 6), window(4, 7)], (p) => p.value);
    expect(x).toEqual([1, 2, 2.5, 5]);
    expect(y).toEqual([5, 6, null, 7]);
  });
  it("keeps a window without a value as a gap, never as zero", () => {
    expect(windowTable([window(0, 5), window(1, null), window(2, 7)], (p) => p.value)[1]).toEqual([5, null, 7]);
  });
  it("follows the length of the windows", () => {
    expect(windowTable([window(0, 1, 10), window(10, 2, 10)], (p) => p.value)[0]).toEqual([10, 20]);
  });
});

describe("join", () => {
  it("keeps a gap open over the moments of other lines, and does not break a line for them", () => {
    const [x, y, other] = join([[[1, 2, 3, 7], [5, 6, null, 7]], [[1.5, 4, 5, 6], [1, 2, 3, 4]]]);
    expect(x).toEqual([1, 1.5, 2, 3, 4, 5, 6, 7]);
    expect(y).toEqual([5, undefined, 6, null, null, null, null, 7]);
    expect(other).toEqual([undefined, 1, undefined, undefined, 2, 3, 4, undefined]);
  });
});

describe("sizingTable", () => {
  it("breaks the line when no recommendation came", () => {
    const [x, y, hpa] = sizingTable([sizing(20, 1), sizing(1, 1), sizing(2, 1)], 5, (p) => p.reactive, (p) => p.hpa);
    expect(x).toEqual([1, 2, 7, 20]);
    expect(y).toEqual([3, 3, null, 3]);
    expect(hpa).toEqual([null, null, null, null]);
  });
  it("puts what was foreseen where it was foreseen for", () => {
    expect(foreseenTable([sizing(1, 100), sizing(2, null)], 5)).toEqual([[9, 10], [100, null]]);
  });
});

describe("forecast", () => {
  const at = (s: number) => new Date(s * 1000).toISOString();
  const f: Forecast = {
    step_seconds: 10, method: "m", trusted: true, trust_reason: "",
    points: [100, 110].map((s) => ({ start_time: at(s), mean_per_second: s, quantiles: [{ level: 0.05, value_per_second: s - 5 }, { level: 0.95, value_per_second: s + 5 }] })),
  };
  it("gives the mean and the outermost quantiles", () => {
    expect(forecastTable(f)).toEqual([[100, 110], [100, 110], [95, 105], [105, 115]]);
    expect(forecastTable(undefined)).toEqual([[], [], [], []]);
  });
  it("is looked up by the step a moment falls into, and ends at its horizon", () => {
    expect(forecastAt(f, 109.9)?.mean_per_second).toBe(100);
    expect(forecastAt(f, 110)?.mean_per_second).toBe(110);
    expect(forecastAt(f, 126)).toBeUndefined();
    expect(forecastAt(f, 99)).toBeUndefined();
  });
});
