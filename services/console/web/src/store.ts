// The state of the page: a snapshot, and the events after it.
import type {
  Action, Capacity, Decision, Environment, Experiment, Forecast, Provisioning, SizingPoint, Snapshot, Status, TrafficPoint, UsagePoint, WindowPoint,
} from "./types";

/** How many seconds of windows and how many decisions the page keeps. */
const RETENTION = 15 * 60;
const DECISIONS = 60;

/** Windows of both environments; per place the highest revision wins, in whatever order they come. */
export class Windows<P extends WindowPoint> {
  private readonly places = new Map<string, P>();
  private newestStart = -Infinity;

  put(p: P): boolean {
    const place = `${p.environment} ${p.start}`;
    const before = this.places.get(place);
    if ((before && before.revision >= p.revision) || p.start < this.newestStart - RETENTION) return false;
    this.places.set(place, p);
    if (p.start > this.newestStart) {
      this.newestStart = p.start;
      for (const [key, old] of this.places) if (old.start < p.start - RETENTION) this.places.delete(key);
    }
    return true;
  }

  /** Windows of one environment, oldest first. */
  of(environment: Environment): P[] {
    return [...this.places.values()].filter((p) => p.environment === environment).sort((a, b) => a.start - b.start);
  }

  newest(environment: Environment): P | undefined {
    let found: P | undefined;
    for (const p of this.places.values()) if (p.environment === environment && (!found || p.start > found.start)) found = p;
    return found;
  }
}

export class Store {
  traffic = new Windows<TrafficPoint>();
  usage = new Windows<UsagePoint>();
  sizing: SizingPoint[] = [];
  /** Newest first. */
  decisions: Decision[] = [];
  forecast: Forecast | undefined;
  actions: Action[] | undefined;
  capacity: Capacity[] | undefined;
  provisioning: Provisioning | undefined;
  experiments: Experiment[] = [];
  status: Status = { backends: [], problems: {} };
  /** Console's clock minus the browser's, in seconds. */
  clockOffset = 0;

  /** Applies one event of the stream. */
  apply(event: string, data: unknown, browserSeconds: number): void {
    switch (event) {
      case "snapshot": return this.replace(data as Snapshot, browserSeconds);
      case "heartbeat": this.clockOffset = (data as { time: number }).time - browserSeconds; return;
      case "traffic": this.traffic.put(data as TrafficPoint); return;
      case "usage": this.usage.put(data as UsagePoint); return;
      case "recommendation": return this.recommend(data as { point: SizingPoint; decision: Decision });
      case "forecast": this.forecast = (data as { forecast?: Forecast }).forecast; return;
      case "actions": this.actions = (data as { actions: Action[] }).actions; return;
      case "capacity": this.capacity = (data as { measurements: Capacity[] }).measurements; return;
      case "provisioning": this.provisioning = (data as { status?: Provisioning }).status; return;
      case "experiments": this.experiments = (data as { experiments: Experiment[] }).experiments; return;
      case "status": this.status = data as Status; return;
    }
  }

  private replace(s: Snapshot, browserSeconds: number): void {
    this.clockOffset = s.time - browserSeconds;
    this.traffic = new Windows();
    this.usage = new Windows();
    for (const p of s.traffic ?? []) this.traffic.put(p);
    for (const p of s.usage ?? []) this.usage.put(p);
    this.sizing = s.sizing;
    this.decisions = s.decisions ?? [];
    this.forecast = s.forecast?.forecast;
    this.actions = s.actions?.actions;
    this.capacity = s.capacity?.measurements;
    this.provisioning = s.provisioning?.status;
    this.experiments = s.experiments?.experiments ?? [];
    this.status = s.status;
  }

  private recommend(event: { point: SizingPoint; decision: Decision }): void {
    const { point, decision } = event;
    this.sizing = this.sizing.filter((p) => p.time >= point.time - RETENTION && p.generation !== point.generation);
    this.sizing.push(point);
    // A run that goes on keeps its place; the same event twice changes nothing.
    const rest = this.decisions.filter((d) => d.id !== decision.id);
    this.decisions = [decision, ...rest].slice(0, DECISIONS);
  }

  /** The newest measurement that may be used. */
  validCapacity(): Capacity | undefined {
    return this.capacity?.find((c) => c.valid);
  }

  /** Whether a backend cannot be reached, or a source of the page fails. */
  failing(source: string): boolean {
    return source in this.status.problems;
  }
}
