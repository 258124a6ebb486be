// What the gateway sends. Points are its own view; the rest is the JSON of the .proto files under their names.
// 64-bit integers come as strings.

export type Environment = "production" | "shadow";

export interface Workload {
  name: string;
  slo_quantile: number;
  slo_latency_seconds: number;
  slo_error_ratio: number;
  min_instances: number;
  max_instances: number;
  policy: string;
  mode: string;
  interval_seconds: number;
}

export interface WindowPoint {
  environment: Environment;
  /** Unix seconds. */
  start: number;
  /** Seconds. */
  duration: number;
  revision: number;
}

export interface TrafficPoint extends WindowPoint {
  requests_per_second: number;
  error_ratio: number | null;
  violation_ratio: number | null;
  p50_seconds: number | null;
  p95_seconds: number | null;
  p99_seconds: number | null;
  slo_latency_seconds: number | null;
  /** How well the copies show production at 95 % confidence: total variation of the mix, and a share of p95. */
  sample_mix_half_width?: number | null;
  sample_p95_half_width?: number | null;
}

export interface UsagePoint extends WindowPoint {
  ready: number;
  desired: number;
}

export interface SizingPoint {
  generation: string;
  time: number;
  instances: number;
  reactive: number;
  hpa: number | null;
  forecast_per_second: number | null;
  quantile: number;
  lead_time_seconds: number;
  shadow_instances: number;
}

export interface Sizing {
  instances: number;
  cpu_cores: number;
  memory_bytes: string;
  network_bytes_per_second: number;
}

export interface Evidence {
  demand_per_second: number;
  demand_age_seconds: number;
  quantile: number;
  forecast_per_second: number;
  forecast_arrival_per_second: number;
  forecast_mean_per_second: number;
  forecast_trusted: boolean;
  capacity_per_second: number;
  capacity_lower_per_second: number;
  startup_seconds: number;
  lead_time_seconds: number;
  ready_instances: number;
  desired_instances: number;
}

export interface Recommendation {
  recommendation_id: string;
  create_time?: string;
  expire_time?: string;
  production?: Sizing;
  shadow?: Sizing;
  policy: string;
  reasons: { code: string; text: string }[];
  evidence?: Evidence;
  reactive_instances: number;
  hpa_instances: number;
}

export interface Decision {
  id: string;
  from: number;
  until: number;
  count: number;
  previous_instances: number | null;
  recommendation: Recommendation;
  /** Of the newest recommendation of the run. */
  prospects?: Prospects;
}

/** What other budgets would have cost and violated on the demand of late, played on paper. */
export interface Prospects {
  seen_seconds: number;
  hpa_violating_requests: number;
  prospects: { budget: number; risk: number; cost_ratio: number; violating_requests: number }[];
}

export interface ForecastPoint {
  start_time: string;
  mean_per_second: number;
  quantiles: { level: number; value_per_second: number }[];
}

export interface Forecast {
  create_time?: string;
  step_seconds: number;
  points: ForecastPoint[];
  method: string;
  trusted: boolean;
  trust_reason: string;
}

export interface Action {
  action_id: string;
  recommendation_id?: string;
  environment: string;
  from?: Sizing;
  to?: Sizing;
  outcome: string;
  reason: string;
  guardrails: string[];
  create_time?: string;
  complete_time?: string;
  startup_seconds: number;
  actor: string;
}

export interface CapacityStep {
  offered_per_second: number;
  completed_per_second: number;
  latency_seconds: number;
  error_ratio: number;
  slo_met: boolean;
  broken: string;
}

export interface Capacity {
  measure_time?: string;
  valid: boolean;
  invalid_reason: string;
  requests_per_second: number;
  lower_requests_per_second: number;
  upper_requests_per_second: number;
  bottleneck: string;
  startup_seconds: number;
  steps: CapacityStep[];
}

export interface Experiment {
  experiment_id: string;
  amplifications: number[];
  state: string;
  failure: string;
  create_time?: string;
}

export interface Provisioning {
  mode: string;
  paused: boolean;
  pause_reason: string;
  pause_actor: string;
  pause_time?: string;
  production?: Sizing;
  production_ready_instances: number;
  shadow?: Sizing;
  shadow_ready_instances: number;
  awaiting_recommendation_ids?: string[];
}

export interface Backend {
  name: string;
  address: string;
  reachable: boolean;
  since: string;
}

export interface Problem {
  backend: string;
  code: string;
  message: string;
  since: string;
}

export interface Status {
  backends: Backend[] | null;
  problems: Record<string, Problem>;
}

export interface Snapshot {
  time: number;
  traffic: TrafficPoint[] | null;
  usage: UsagePoint[] | null;
  sizing: SizingPoint[];
  decisions: Decision[] | null;
  forecast: { forecast?: Forecast } | null;
  actions: { actions: Action[] } | null;
  capacity: { measurements: Capacity[] } | null;
  provisioning: { status?: Provisioning } | null;
  experiments: { experiments: Experiment[] } | null;
  status: Status;
}
