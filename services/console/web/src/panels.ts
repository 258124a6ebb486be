// The lists beside the charts: decisions, actions, capacity, notices and tiles.
import { byId, h, keyed, setText } from "./dom";
import { UNKNOWN, bytes, clock, duration, enumName, latency, number, percent, quantile, seconds } from "./format";
import type { Notice } from "./notices";
import type { Store } from "./store";
import type { Tile } from "./tiles";
import type { Action, Capacity, Decision, Experiment, Prospects, Sizing } from "./types";

export function renderTiles(tiles: Tile[]): void {
  keyed(byId("tiles"), tiles, (t) => t.id,
    (t) => h("article", { class: "tile", id: `tile-${t.id}` }, h("h2"), h("p", { class: "value" }, h("span"), h("small")), h("p", { class: "note" })),
    (el, t) => {
      el.dataset["tone"] = t.tone;
      setText(el.querySelector("h2")!, t.label);
      setText(el.querySelector(".value span")!, t.value);
      setText(el.querySelector(".value small")!, t.unit);
      setText(el.querySelector(".note")!, t.note);
    });
}

export function renderNotices(notices: Notice[]): void {
  keyed(byId("notices"), notices, (n) => n.key, () => h("p"), (el, n) => {
    el.dataset["tone"] = n.tone;
    setText(el, n.text);
  });
}

export function renderDecisions(decisions: Decision[]): void {
  const list = byId("decisions");
  list.dataset["empty"] = "No decision yet.";
  keyed(list, decisions, (d) => d.id, makeDecision, (el, d) => {
    setText(el.querySelector("time")!, clock(d.from));
    setText(el.querySelector(".held")!, d.count > 1 ? `held ${duration(d.until - d.from)}` : "");
  });
}

/** What a screen reader is told of a new decision. */
export function announcement(d: Decision): string {
  return `${change(d)}. ${d.recommendation.reasons[0]?.text ?? ""}`;
}

function change(d: Decision): string {
  const n = d.recommendation.production?.instances ?? 0;
  const previous = d.previous_instances;
  return previous === null || previous === n ? `Keep ${count(n)}` : `${previous} → ${count(n)}`;
}

function count(n: number): string {
  return n === 1 ? "1 instance" : `${n} instances`;
}

function makeDecision(d: Decision): HTMLElement {
  const r = d.recommendation;
  const policy = enumName(r.policy, "POLICY_");
  const n = r.production?.instances ?? 0, previous = d.previous_instances ?? n;
  return h("li", { class: n > previous ? "up" : n < previous ? "down" : null },
    h("p", { class: "line" }, h("time"), h("strong", {}, change(d)), h("span", { class: "pill", "data-tone": policy === "predictive" ? "good" : policy === "hold" ? "warn" : "quiet" }, policy), h("span", { class: "held quiet" })),
    h("p", {}, r.reasons[0]?.text ?? "no reason was given"),
    h("p", { class: "quiet" }, `reactive would hold ${r.reactive_instances || UNKNOWN} · HPA ${r.hpa_instances || UNKNOWN} · shadow ${r.shadow?.instances || "asleep"}`),
    h("details", {}, h("summary", {}, "Numbers and further reasons"), h("ul", {}, ...r.reasons.slice(1).map((x) => h("li", {}, x.text))), numbers(d)));
}

function numbers(d: Decision): HTMLElement {
  const e = d.recommendation.evidence;
  const rows: [string, string][] = [];
  if (e) {
    rows.push(
      ["Demand", `${number(e.demand_per_second)} req/s, ${number(e.demand_age_seconds)} s old`],
      [`Forecast maximum, ${quantile(e.quantile)}`, e.forecast_per_second > 0 ? `${number(e.forecast_per_second)} req/s within ${number(e.lead_time_seconds)} s` : UNKNOWN],
      ["When a new instance is ready", e.forecast_arrival_per_second > 0 ? `${number(e.forecast_arrival_per_second)} req/s` : UNKNOWN],
      ["Forecast mean at lead time", e.forecast_mean_per_second > 0 ? `${number(e.forecast_mean_per_second)} req/s` : UNKNOWN],
      ["Forecast trusted", e.forecast_trusted ? "yes" : "no"],
      ["Capacity per instance", e.capacity_per_second > 0 ? `${number(e.capacity_per_second)} req/s, at least ${number(e.capacity_lower_per_second)}` : "not known"],
      ["Start-up of an instance", e.startup_seconds > 0 ? `${number(e.startup_seconds)} s` : UNKNOWN],
      ["Ready / desired then", `${e.ready_instances} / ${e.desired_instances}`],
    );
  }
  rows.push(["Each instance", each(d.recommendation.production)]);
  return h("dl", {}, ...rows.flatMap(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
}

/** The size of one instance, as far as one is recommended. */
function each(s: Sizing | undefined): string {
  if (!s) return UNKNOWN;
  const parts = [
    s.cpu_cores > 0 && `${number(s.cpu_cores)} cores`, Number(s.memory_bytes) > 0 && bytes(Number(s.memory_bytes)),
    s.network_bytes_per_second > 0 && `${bytes(s.network_bytes_per_second)}/s network`,
  ].filter((p) => p !== false);
  return parts.length ? parts.join(", ") : "no recommendation";
}

const OUTCOME_TONE: Record<string, string> = { applied: "good", failed: "bad", "rolled back": "bad", refused: "warn", "awaiting approval": "warn" };

export function renderActions(actions: Action[] | undefined): void {
  const list = byId("actions");
  list.dataset["empty"] = actions ? "No action yet." : "Not known yet.";
  keyed(list, actions ?? [], (a) => `${a.action_id} ${a.outcome} ${a.complete_time ?? ""}`, makeAction, (el, a) => setText(el.querySelector("time")!, clock(seconds(a.create_time))));
}

function makeAction(a: Action): HTMLElement {
  const outcome = enumName(a.outcome, "OUTCOME_");
  const took = seconds(a.complete_time) - seconds(a.create_time);
  const facts = [
    Number.isFinite(took) && took > 0 && `took ${number(took)} s`, a.startup_seconds > 0 && `slowest start ${number(a.startup_seconds)} s`,
    a.guardrails.length > 0 && `guardrails: ${a.guardrails.join(", ")}`, a.actor && `by ${a.actor}`,
  ].filter((f) => !!f);
  return h("li", {},
    h("p", { class: "line" }, h("time"), h("strong", {}, `${enumName(a.environment, "ENVIRONMENT_")} ${a.from?.instances ?? UNKNOWN} → ${a.to?.instances ?? UNKNOWN}`),
      h("span", { class: "pill", "data-tone": OUTCOME_TONE[outcome] ?? "quiet" }, outcome)),
    a.reason ? h("p", {}, a.reason) : null,
    facts.length ? h("p", { class: "quiet" }, facts.join(" · ")) : null);
}

const STATE_TONE: Record<string, string> = { running: "warn", succeeded: "good", failed: "bad" };

export function renderExperiments(experiments: Experiment[]): void {
  keyed(byId("experiments"), experiments, (e) => `${e.experiment_id} ${e.state}`, (e) => {
    const state = enumName(e.state, "EXPERIMENT_STATE_");
    return h("li", {},
      h("p", { class: "line" }, h("time", {}, clock(seconds(e.create_time))), h("span", {}, `experiment at ${e.amplifications.map((a) => `×${number(a)}`).join(", ")}`),
        h("span", { class: "pill", "data-tone": STATE_TONE[state] ?? "quiet" }, state)),
      e.failure ? h("p", { class: "quiet" }, e.failure) : null);
  }, () => undefined);
}

/** Drawn again only when there is another measurement. */
let drawnCapacity: Capacity[] | undefined;

export function renderCapacity(store: Store): void {
  if (store.capacity === drawnCapacity && drawnCapacity) return;
  drawnCapacity = store.capacity;
  const newest = store.capacity?.[0], c = store.validCapacity();
  const parts: HTMLElement[] = [];
  if (!newest) parts.push(h("p", { class: "quiet" }, "Not measured yet."));
  if (newest && !newest.valid) parts.push(h("p", { class: "warning" }, `The measurement of ${clock(seconds(newest.measure_time))} may not be used: ${newest.invalid_reason}`));
  if (c) {
    parts.push(
      h("p", {}, h("strong", {}, `${number(c.requests_per_second)} req/s`), ` within the SLO (95 % interval ${number(c.lower_requests_per_second)} to ${number(c.upper_requests_per_second)}), limited by ${enumName(c.bottleneck, "BOTTLENECK_").replace("unspecified", "something not known")}; measured at ${clock(seconds(c.measure_time))}`),
      steps(c));
  }
  byId("capacity").replaceChildren(...parts);
}

function table(columns: string[], rows: HTMLElement[]): HTMLElement {
  return h("table", {}, h("thead", {}, h("tr", {}, ...columns.map((t) => h("th", { scope: "col" }, t)))), h("tbody", {}, ...rows));
}

function steps(c: Capacity): HTMLElement {
  return table(["Offered", "Completed", "Latency", "Errors", "SLO"], c.steps.map((s) => h("tr", {},
    h("td", {}, `${number(s.offered_per_second)}/s`), h("td", {}, `${number(s.completed_per_second)}/s`), h("td", {}, latency(s.latency_seconds).join(" ")),
    h("td", {}, percent(s.error_ratio)), h("td", { class: s.slo_met ? "good" : "bad" }, s.slo_met ? "met" : s.broken ? `missed: ${s.broken}` : "missed"))));
}

/** Drawn again only when they change, so that a person can select what is there. */
let drawnProspects: string | undefined;

export function renderProspects(p: Prospects | undefined): void {
  const drawn = JSON.stringify(p ?? null);
  if (drawn === drawnProspects) return;
  drawnProspects = drawn;
  setText(byId("prospects-note"), p ? `played on paper on the demand of the last ${duration(p.seen_seconds)}; older counts less` : "");
  byId("prospects").replaceChildren(p ? money(p) : h("p", { class: "quiet" }, "Known once enough of the demand, and of what the HPA would do, has been seen."));
}

function money(p: Prospects): HTMLElement {
  const row = (...cells: string[]) => h("tr", {}, ...cells.map((c) => h("td", {}, c)));
  // Of the budgets with which the HPA is followed, one line is enough.
  const apart = p.prospects.filter((x, i, all) => x.budget === 0 || x.risk > 0 || all[i + 1]?.risk !== 0);
  const budget = (b: number, risk: number) => b === 0 ? "none" : `${risk === 0 ? "up to " : ""}${b.toFixed(2)}×`;
  return table(["Budget", "By", "Of the HPA's bill", "Violating requests"], [
    row("Kubernetes HPA", "its rule", "1.00×", number(p.hpa_violating_requests)),
    ...apart.map((x) => row(budget(x.budget, x.risk), manner(x.risk), `${x.cost_ratio.toFixed(2)}×`, number(x.violating_requests))),
  ]);
}

/** What a fleet on paper goes by. */
function manner(risk: number): string {
  if (risk === 0) return "what the HPA does";
  return risk >= 1 ? "the demand of now" : `forecast, risk ${percent(risk)}`;
}
