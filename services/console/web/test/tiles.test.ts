import { describe, expect, it } from "vitest";
import { notices } from "../src/notices";
import { Store } from "../src/store";
import { tiles, type Tile } from "../src/tiles";
import type { Status, TrafficPoint, Workload } from "../src/types";

const shop: Workload = {
  name: "shop", slo_quantile: 0.95, slo_latency_seconds: 0.1, slo_error_ratio: 0.01, min_instances: 1, max_instances: 9, policy: "predictive",
  mode: "automatic", interval_seconds: 1,
};
const traffic = (environment: "production" | "shadow", start: number, rps: number, slo: number | null): TrafficPoint =>
  ({ environment, start, duration: 1, revision: 1, requests_per_second: rps, error_ratio: slo === null ? null : 0, violation_ratio: 0, p50_seconds: slo, p95_seconds: slo, p99_seconds: slo, slo_latency_seconds: slo });
const usage = (environment: "production" | "shadow", start: number, ready: number, desired: number) => ({ environment, start, duration: 1, revision: 1, ready, desired });
const tile = (s: Store, now: number, id: string): Tile => tiles(s, shop, now).find((t) => t.id === id)!;

describe("tiles", () => {
  it("show a dash, never a zero, where nothing is known", () => {
    expect(tiles(new Store(), shop, 100).map((t) => t.value)).toEqual(["–", "–", "–", "–", "–", "–", "–"]);
  });
  it("judge the latency by the SLO", () => {
    const s = new Store();
    s.apply("traffic", traffic("production", 99, 120, 0.0423), 0);
    expect(tile(s, 100, "production")).toMatchObject({ value: "42.3", unit: "ms", tone: "good", note: "SLO 100 ms met" });
    s.apply("traffic", traffic("production", 100, 120, 1.26), 0);
    expect(tile(s, 101, "production")).toMatchObject({ value: "1.26", unit: "s", tone: "bad" });
  });
  it("mark an old number as old", () => {
    const s = new Store();
    s.apply("traffic", traffic("production", 99, 0, null), 0);
    expect(tile(s, 101, "demand")).toMatchObject({ value: "0", tone: "", note: "no responses" });
    expect(tile(s, 130, "demand")).toMatchObject({ value: "0", tone: "stale", note: "30 s old" });
  });
  it("say that the shadow sleeps rather than show its last latency", () => {
    const s = new Store();
    s.apply("traffic", traffic("shadow", 50, 10, 0.02), 0);
    s.apply("usage", usage("shadow", 99, 0, 0), 0);
    expect(tile(s, 100, "shadow").value).toBe("asleep");
    s.apply("usage", usage("shadow", 100, 0, 1), 0);
    expect(tile(s, 101, "shadow")).toMatchObject({ value: "20", tone: "stale" });
  });
  it("say that a measurement takes the place of the replay", () => {
    const s = new Store();
    s.apply("traffic", traffic("shadow", 99, 0, null), 0);
    expect(tile(s, 100, "shadow")).toMatchObject({ value: "–", note: "no responses" });
    s.apply("traffic", traffic("production", 99, 20, 0.02), 0);
    expect(tile(s, 100, "shadow")).toMatchObject({ value: "–", note: "nothing is replayed now, as while it is measured" });
    expect(tile(s, 130, "shadow")).toMatchObject({ note: "30 s old" });
  });
  it("say at which rate the shadow missed the SLO, and alarm nobody for it", () => {
    const s = new Store();
    s.apply("traffic", traffic("shadow", 99, 98.7, 3), 0);
    expect(tile(s, 100, "shadow")).toMatchObject({ value: "3", unit: "s", note: "SLO 100 ms missed at 98.7 req/s", tone: "warn" });
    s.apply("traffic", traffic("production", 99, 98.7, 3), 0);
    expect(tile(s, 100, "production")).toMatchObject({ note: "SLO 100 ms missed", tone: "bad" });
  });
  it("say how well the sample shows production, and that it is not known", () => {
    const s = new Store();
    expect(tile(s, 100, "sample")).toMatchObject({ value: "–", note: "not known yet" });
    s.apply("traffic", { ...traffic("production", 99, 10, 0.02), sample_mix_half_width: 0.042, sample_p95_half_width: 0.11 }, 0);
    expect(tile(s, 100, "sample")).toMatchObject({ value: "± 4.2", unit: "%", note: "mix of requests; p95 ± 11 %, 95 % confidence", tone: "" });
    s.apply("traffic", { ...traffic("production", 100, 10, 0.02), sample_mix_half_width: 0.04, sample_p95_half_width: null }, 0);
    expect(tile(s, 101, "sample").note).toContain("latencies not known");
  });
  it("say that nobody is in the sample, rather than that the shadow does not answer", () => {
    const s = new Store();
    s.apply("traffic", { ...traffic("production", 99, 20, 0.02), sample_mix_half_width: 1, sample_p95_half_width: 0.8 }, 0);
    s.apply("traffic", traffic("shadow", 99, 0, null), 0);
    expect(tile(s, 100, "sample")).toMatchObject({ value: "–", tone: "warn", note: "none of these users' sessions is in the sample (tap.sample_ratio)" });
    expect(tile(s, 100, "shadow")).toMatchObject({ value: "–", note: "nobody in the sample" });
    s.apply("traffic", traffic("shadow", 100, 2, 0.02), 0);
    expect(tile(s, 101, "sample")).toMatchObject({ value: "too small", unit: "", tone: "", note: "too few requests of late to say how well they show production" });
  });
  it("tell a capacity not measured from one whose measurements came to nothing", () => {
    const s = new Store();
    expect(tile(s, 100, "capacity").note).toBe("not measured yet");
    s.capacity = [{ valid: false, invalid_reason: "the instance went away", requests_per_second: 0, lower_requests_per_second: 0, upper_requests_per_second: 0, bottleneck: "", startup_seconds: 0, steps: [] }];
    expect(tile(s, 100, "capacity")).toMatchObject({ value: "–", note: "no measurement may be used" });
  });
  it("show a dash for what a reactive scaler would hold where nobody can say", () => {
    const s = new Store();
    s.apply("usage", usage("production", 99, 2, 2), 0);
    s.sizing = [{ generation: "1", time: 99, instances: 2, reactive: 0, hpa: 2, forecast_per_second: null, quantile: 0.95, lead_time_seconds: 15, shadow_instances: 1 }];
    expect(tile(s, 100, "instances").note).toBe("reactive – · HPA 2");
  });
  it("show the forecast at the lead time with its interval, and why there is none", () => {
    const s = new Store();
    s.apply("forecast", { forecast: { step_seconds: 1, trusted: false, points: [{ start_time: new Date(100_000).toISOString(), mean_per_second: 412.4, quantiles: [{ level: 0.05, value_per_second: 390 }, { level: 0.975, value_per_second: 440 }] }] } }, 0);
    expect(tile(s, 100.5, "forecast")).toMatchObject({ value: "412", note: "390 to 440 (p5–p97.5), not trusted", tone: "warn" });
    s.apply("status", { backends: [], problems: { forecast: { backend: "predictor", code: "FAILED_PRECONDITION", message: "too little history", since: "" } } }, 0);
    expect(tile(s, 100.5, "forecast")).toMatchObject({ value: "–", note: "too little history" });
  });
});

describe("notices", () => {
  const status: Status = {
    backends: [{ name: "predictor", address: "a:1", reachable: false, since: new Date(90_000).toISOString() }, { name: "provisioner", address: "b:2", reachable: true, since: new Date(0).toISOString() }],
    problems: {
      forecast: { backend: "predictor", code: "UNAVAILABLE", message: "refused", since: new Date(90_000).toISOString() },
      actions: { backend: "provisioner", code: "INTERNAL", message: "boom", since: new Date(0).toISOString() },
    },
  };
  it("name who is away once, since when, and who answers with an error", () => {
    const list = notices(status, 100);
    expect(list.map((n) => n.key)).toEqual(["away predictor", "problem actions"]);
    expect(list[0]!.text).toContain("(10 s), no connection to a:1");
    expect(list[1]!.text).toContain("provisioner answers INTERNAL");
  });
  it("do not call a backend away that has only just been dialled", () => {
    expect(notices(status, 91).map((n) => n.key)).toEqual(["problem actions"]);
  });
});
