import { describe, expect, it } from "vitest";
import { Store, Windows } from "../src/store";
import type { Decision, SizingPoint, UsagePoint } from "../src/types";

const usage = (start: number, revision: number, ready: number, environment: "production" | "shadow" = "production"): UsagePoint =>
  ({ environment, start, duration: 1, revision, ready, desired: ready });

describe("Windows", () => {
  it("keeps the highest revision of a window, in whatever order they come", () => {
    const w = new Windows<UsagePoint>();
    expect(w.put(usage(10, 2, 5))).toBe(true);
    expect(w.put(usage(10, 1, 4))).toBe(false);
    expect(w.put(usage(10, 2, 9))).toBe(false);
    expect(w.put(usage(10, 3, 6))).toBe(true);
    expect(w.put(usage(9, 1, 3))).toBe(true);
    expect(w.put(usage(10, 1, 1, "shadow"))).toBe(true);
    expect(w.of("production").map((p) => p.ready)).toEqual([3, 6]);
    expect(w.newest("shadow")?.ready).toBe(1);
  });

  it("forgets what is too old to show, and does not take it back", () => {
    const w = new Windows<UsagePoint>();
    w.put(usage(0, 1, 1));
    w.put(usage(10_000, 1, 2));
    expect(w.put(usage(1, 1, 1))).toBe(false);
    expect(w.of("production").map((p) => p.ready)).toEqual([2]);
  });
});

describe("Store", () => {
  const point = (generation: string, time: number): SizingPoint =>
    ({ generation, time, instances: 1, reactive: 1, hpa: null, forecast_per_second: null, quantile: 0.95, lead_time_seconds: 8, shadow_instances: 0 });
  const decision = (id: string, count: number): Decision =>
    ({ id, from: 0, until: count, count, previous_instances: null, recommendation: { recommendation_id: id, policy: "", reasons: [], reactive_instances: 0, hpa_instances: 0 } });

  it("lets a run of equal decisions grow in place and puts a new one first", () => {
    const s = new Store();
    s.apply("recommendation", { point: point("1", 1), decision: decision("1", 1) }, 0);
    s.apply("recommendation", { point: point("2", 2), decision: decision("1", 2) }, 0);
    s.apply("recommendation", { point: point("2", 2), decision: decision("1", 2) }, 0);
    s.apply("recommendation", { point: point("3", 3), decision: decision("3", 1) }, 0);
    expect(s.decisions.map((d) => [d.id, d.count])).toEqual([["3", 1], ["1", 2]]);
    expect(s.sizing.map((p) => p.generation)).toEqual(["1", "2", "3"]);
  });

  it("is replaced as a whole by a snapshot and takes its clock", () => {
    const s = new Store();
    s.apply("usage", usage(10, 5, 7), 0);
    s.apply("snapshot", {
      time: 1000, traffic: null, usage: [usage(11, 1, 3)], sizing: [], decisions: null, forecast: null, actions: null,
      capacity: { measurements: [{ valid: false, requests_per_second: 1 }, { valid: true, requests_per_second: 65 }] }, provisioning: null,
      status: { backends: [], problems: {} },
    }, 990);
    expect(s.usage.of("production").map((p) => p.ready)).toEqual([3]);
    expect(s.clockOffset).toBe(10);
    expect(s.validCapacity()?.requests_per_second).toBe(65);
    expect(s.actions).toBeUndefined();
  });
});
