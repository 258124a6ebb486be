// The numbers at the top: what they say is decided here, without the DOM.
import { UNKNOWN, duration, latency, number, quantile, seconds } from "./format";
import { forecastAt } from "./series";
import type { Store } from "./store";
import type { TrafficPoint, Workload } from "./types";

export interface Tile {
  id: string;
  label: string;
  value: string;
  unit: string;
  note: string;
  /** How to colour it; stale: the number is old. */
  tone: "" | "good" | "bad" | "warn" | "stale";
}

/** A window older than this many of its lengths (and 5 s) is not "now". */
const FRESH = 5;

export function tiles(store: Store, workload: Workload, now: number): Tile[] {
  return [demand(store, now), forecast(store, now), instances(store, now), production(store, workload, now), shadow(store, workload, now), capacity(store, now), sample(store, now)];
}

function ageOf(p: { start: number; duration: number } | undefined, now: number): number {
  return p ? now - p.start - p.duration : Infinity;
}

function stale(p: { start: number; duration: number } | undefined, now: number): boolean {
  return ageOf(p, now) > Math.max(5, FRESH * (p?.duration ?? 1));
}

function demand(store: Store, now: number): Tile {
  const p = store.traffic.newest("production");
  const tile: Tile = { id: "demand", label: "Demand now", value: UNKNOWN, unit: "", note: "no window yet", tone: "stale" };
  if (!p) return tile;
  const old = stale(p, now);
  const errors = p.error_ratio === null ? "no responses" : `${number(p.error_ratio * 100)} % errors`;
  return { ...tile, value: number(p.requests_per_second), unit: "req/s", note: old ? `${duration(ageOf(p, now))} old` : errors, tone: old ? "stale" : "" };
}

function forecast(store: Store, now: number): Tile {
  const lead = store.sizing.at(-1)?.lead_time_seconds ?? 0;
  const tile: Tile = { id: "forecast", label: lead > 0 ? `Forecast in ${duration(lead)}` : "Forecast", value: UNKNOWN, unit: "", note: "", tone: "stale" };
  const problem = store.status.problems["forecast"];
  if (problem) return { ...tile, note: problem.message };
  const f = store.forecast;
  const point = f && forecastAt(f, now + lead);
  if (!f || !point) return { ...tile, note: f ? "it does not reach that far" : "none yet" };
  const low = point.quantiles[0], high = point.quantiles.at(-1);
  const interval = low && high ? `${number(low.value_per_second)} to ${number(high.value_per_second)} (${quantile(low.level)}–${quantile(high.level)})` : "no interval";
  return { ...tile, value: number(point.mean_per_second), unit: "req/s", note: f.trusted ? interval : `${interval}, not trusted`, tone: f.trusted ? "" : "warn" };
}

function instances(store: Store, now: number): Tile {
  const p = store.usage.newest("production");
  const tile: Tile = { id: "instances", label: "Ready / desired", value: UNKNOWN, unit: "", note: "not reported yet", tone: "stale" };
  if (!p) return tile;
  const last = store.sizing.at(-1);
  const note = stale(p, now) ? `${duration(ageOf(p, now))} old`
    : last ? `reactive ${last.reactive || UNKNOWN} · HPA ${last.hpa ?? UNKNOWN}` : "no recommendation yet";
  return { ...tile, value: `${p.ready} / ${p.desired}`, unit: "instances", note, tone: stale(p, now) ? "stale" : "" };
}

function latencyTile(id: string, label: string, p: TrafficPoint, workload: Workload, now: number): Tile {
  const [value, unit] = latency(p.slo_latency_seconds);
  const slo = latency(workload.slo_latency_seconds).join(" ");
  const old = stale(p, now);
  const met = p.slo_latency_seconds !== null && p.slo_latency_seconds <= workload.slo_latency_seconds;
  const note = old ? `${duration(ageOf(p, now))} old` : p.slo_latency_seconds === null ? "no responses" : `SLO ${slo} ${met ? "met" : "missed"}`;
  return { id, label, value, unit, note, tone: old || p.slo_latency_seconds === null ? "stale" : met ? "good" : "bad" };
}

function production(store: Store, workload: Workload, now: number): Tile {
  const label = `Production ${quantile(workload.slo_quantile)}`;
  const p = store.traffic.newest("production");
  if (!p) return { id: "production", label, value: UNKNOWN, unit: "", note: "no window yet", tone: "stale" };
  return latencyTile("production", label, p, workload, now);
}

/** Whether the shadow has no instances on purpose; undefined when nobody has said. */
export function asleep(store: Store): boolean | undefined {
  const usage = store.usage.newest("shadow");
  if (usage) return usage.desired === 0 && usage.ready === 0;
  if (store.provisioning?.shadow) return store.provisioning.shadow.instances === 0;
  return undefined;
}

function shadow(store: Store, workload: Workload, now: number): Tile {
  const label = `Shadow ${quantile(workload.slo_quantile)}`;
  if (asleep(store)) return { id: "shadow", label, value: "asleep", unit: "", note: "nothing to be learnt now", tone: "" };
  const p = store.traffic.newest("shadow");
  if (!p) return { id: "shadow", label, value: UNKNOWN, unit: "", note: "no window yet", tone: "stale" };
  const tile = latencyTile("shadow", label, p, workload, now);
  // It is asked for more than it carries to learn how much that is, and when the sample is more: no user waits for it.
  if (tile.tone === "bad") return { ...tile, note: `${tile.note} at ${number(p.requests_per_second)} req/s`, tone: "warn" };
  if (tile.value !== UNKNOWN || stale(p, now)) return tile;
  if (unsampled(store)) return { ...tile, note: "nobody in the sample" };
  const used = (store.traffic.newest("production")?.requests_per_second ?? 0) > 0;
  return used ? { ...tile, note: "nothing is replayed now, as while it is measured" } : tile;
}

function capacity(store: Store, now: number): Tile {
  const c = store.validCapacity();
  const tile: Tile = { id: "capacity", label: "Capacity per instance", value: UNKNOWN, unit: "", note: "not measured yet", tone: "stale" };
  if (!c) return store.capacity?.length ? { ...tile, note: "no measurement may be used" } : tile;
  return { ...tile, value: number(c.requests_per_second), unit: "req/s", note: `measured ${duration(now - seconds(c.measure_time))} ago`, tone: "" };
}

/** Whether production is asked, and the copies show nothing of it: whole sessions are copied or not, and few may all be not. */
function unsampled(store: Store): boolean {
  const p = store.traffic.newest("production");
  return !!p && p.requests_per_second > 0 && (p.sample_mix_half_width ?? 0) >= 1 && store.traffic.of("shadow").every((w) => w.requests_per_second === 0);
}

/** How well the copies show production; a window that does not say so is not taken for one that is exact. */
function sample(store: Store, now: number): Tile {
  const p = store.traffic.newest("production");
  const tile: Tile = { id: "sample", label: "Sample", value: UNKNOWN, unit: "", note: "not known yet", tone: "stale" };
  const mix = p?.sample_mix_half_width ?? null, p95 = p?.sample_p95_half_width ?? null;
  if (!p || mix === null) return tile;
  if (unsampled(store)) return { ...tile, note: "none of these users' sessions is in the sample (tap.sample_ratio)", tone: "warn" };
  // Half of the mix may be off: a number would say less than that.
  if (mix >= 0.5) return { ...tile, value: "too small", note: "too few requests of late to say how well they show production", tone: "" };
  const note = p95 === null ? "mix of requests, 95 % confidence; latencies not known" : `mix of requests; p95 ± ${number(p95 * 100)} %, 95 % confidence`;
  return { ...tile, value: `± ${number(mix * 100)}`, unit: "%", note, tone: stale(p, now) ? "stale" : "" };
}
