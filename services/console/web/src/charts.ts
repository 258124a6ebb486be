// Which lines the three charts draw.
import { Chart } from "./chart";
import { byId } from "./dom";
import { latency, number } from "./format";
import { forecastTable, foreseenTable, sizingTable, windowTable, type Table } from "./series";
import type { Store } from "./store";
import type { TrafficPoint, Workload } from "./types";

const rate = (v: number) => `${number(v)}/s`;
const ms = (v: number) => latency(v).join(" ");

export class Charts {
  private readonly demand = new Chart(byId("demand"), {
    label: "Demand, its forecast with interval, and the capacity that is ready, in requests per second", format: rate, axis: number, atLeast: 10, height: 240,
    lines: [
      { label: "demand", color: "--production", width: 2, fill: true },
      { label: "foreseen a lead time earlier", color: "--forecast", dash: [2, 3] },
      { label: "forecast", color: "--forecast", width: 2, dash: [6, 4] },
      { label: "low", color: "--forecast", edge: "low" },
      { label: "high", color: "--forecast", edge: "high" },
      { label: "capacity ready", color: "--capacity", step: true },
    ],
  });
  private readonly instances = new Chart(byId("instances"), {
    label: "Instances ready and desired, and what a reactive policy and the Kubernetes HPA would hold", format: number, axis: number, atLeast: 4, whole: true, height: 180,
    lines: [
      { label: "ready", color: "--production", width: 2, step: true, fill: true },
      { label: "desired", color: "--text", step: true },
      { label: "reactive would hold", color: "--reactive", dash: [5, 4], step: true },
      { label: "HPA would hold", color: "--hpa", dash: [2, 3], step: true },
    ],
  });
  private readonly latency = new Chart(byId("latency"), {
    label: "Latency quantiles of production and of the shadow, with the SLO", format: ms, axis: ms, log: true, height: 220,
    lines: [
      { label: "production p50", color: "--production-soft" },
      { label: "production p95", color: "--production", width: 2 },
      { label: "production p99", color: "--production-soft", dash: [3, 3] },
      { label: "shadow p50", color: "--shadow-soft" },
      { label: "shadow p95", color: "--shadow", width: 2 },
      { label: "shadow p99", color: "--shadow-soft", dash: [3, 3] },
      { label: "SLO", color: "--bad", dash: [8, 4] },
    ],
  });

  draw(store: Store, workload: Workload, now: number, span: number): void {
    const lead = store.sizing.at(-1)?.lead_time_seconds ?? 0;
    const forecast = forecastTable(store.failing("forecast") ? undefined : store.forecast);
    // As much future as past at most: the past gives the future its scale.
    const ahead = Math.min(Math.max((forecast[0].at(-1) ?? now) - now, lead, 10), span / 2);
    const capacity = store.validCapacity()?.requests_per_second;
    const usage = store.usage.of("production");
    const maxGap = Math.max(5, 3 * workload.interval_seconds);
    const range: [number, number] = [now - span, now + ahead];
    this.demand.draw([
      windowTable(store.traffic.of("production"), (p) => p.requests_per_second),
      foreseenTable(store.sizing, maxGap), forecast,
      windowTable(usage, (p) => (capacity === undefined ? null : p.ready * capacity)),
    ], range, now);
    this.instances.draw([
      windowTable(usage, (p) => p.ready, (p) => p.desired),
      sizingTable(store.sizing, maxGap, (p) => p.reactive || null, (p) => p.hpa),
    ], range, now);
    const quantiles = (points: TrafficPoint[]): Table =>
      windowTable(points, (p) => positive(p.p50_seconds), (p) => positive(p.p95_seconds), (p) => positive(p.p99_seconds));
    const slo = workload.slo_latency_seconds;
    this.latency.draw([
      quantiles(store.traffic.of("production")), quantiles(store.traffic.of("shadow")), [[range[0], range[1]], [slo, slo]],
    ], range, now);
  }

  restyle(): void {
    this.demand.restyle();
    this.instances.restyle();
    this.latency.restyle();
  }
}

/** A logarithmic axis has no zero: a latency below what the sketch tells apart is drawn at a microsecond. */
function positive(v: number | null): number | null {
  return v === null ? null : Math.max(v, 1e-6);
}
