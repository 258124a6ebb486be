import "uplot/dist/uPlot.min.css";
import "./style.css";
import { listWorkloads } from "./api";
import { ApproveControl } from "./approve";
import { Charts } from "./charts";
import { byId, h, setText } from "./dom";
import { clock, latency, percent, quantile } from "./format";
import { notices } from "./notices";
import { announcement, renderActions, renderCapacity, renderDecisions, renderExperiments, renderNotices, renderProspects, renderTiles } from "./panels";
import { PauseControl } from "./pause";
import { Store } from "./store";
import { openStream } from "./stream";
import { setUpTheme } from "./theme";
import { tiles } from "./tiles";
import type { Workload } from "./types";

/** Four times a second is live to the eye and cheap. */
const FRAME_MS = 250;
const RETRY_MS = 2000;

class Page {
  private readonly store = new Store();
  private readonly charts = new Charts();
  private readonly pause: PauseControl;
  private readonly approve: ApproveControl;
  private span = 300;
  private announced: string | undefined;
  private lastDraw = 0;
  private lostSince: number | undefined;

  constructor(private readonly workload: Workload) {
    setText(byId("slo"), `SLO: ${quantile(workload.slo_quantile)} at most ${latency(workload.slo_latency_seconds).join(" ")}, errors at most ${percent(workload.slo_error_ratio)}`);
    this.pause = new PauseControl(workload.name, (p) => { this.store.provisioning = p; });
    this.approve = new ApproveControl(workload.name, (p) => { this.store.provisioning = p; });
    byId("span").addEventListener("change", (e) => {
      this.span = Number((e.target as HTMLInputElement).value);
      this.lastDraw = 0;
    });
    setUpTheme(() => this.charts.restyle());
    openStream(workload.name, {
      event: (name, data) => this.store.apply(name, data, Date.now() / 1000),
      lost: (since) => { this.lostSince = since; },
    });
    const frame = (t: number) => {
      if (t - this.lastDraw >= FRAME_MS) {
        this.lastDraw = t;
        this.draw();
      }
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  private draw(): void {
    const now = Date.now() / 1000 + this.store.clockOffset;
    const s = this.store;
    renderTiles(tiles(s, this.workload, now));
    renderNotices(notices(s.status, now));
    renderDecisions(s.decisions);
    renderActions(s.actions);
    renderCapacity(s);
    renderExperiments(s.experiments);
    renderProspects(s.decisions[0]?.prospects);
    this.pause.render(s.provisioning);
    this.approve.render(s);
    this.charts.draw(s, this.workload, now, this.span);
    const abstains = s.status.problems["forecast"];
    setText(byId("demand-note"), abstains ? `no forecast: ${abstains.message}` : s.forecast ? `${s.forecast.method}, ${s.forecast.trusted ? "trusted" : "not trusted"}: ${s.forecast.trust_reason}` : "");
    this.connection();
    this.announce();
  }

  private connection(): void {
    const el = byId("connection");
    el.dataset["tone"] = this.lostSince === undefined ? "good" : "bad";
    setText(el, this.lostSince === undefined ? "live" : `console away since ${clock(this.lostSince / 1000)}`);
  }

  private announce(): void {
    const newest = this.store.decisions[0];
    if (!newest || newest.id === this.announced) return;
    // What was there before the page was opened is no news.
    if (this.announced !== undefined) setText(byId("announce"), announcement(newest));
    this.announced = newest.id;
  }
}

async function start(): Promise<void> {
  let workloads: Workload[];
  try {
    workloads = await listWorkloads();
  } catch (e) {
    setText(byId("connection"), `console away: ${e instanceof Error ? e.message : String(e)}`);
    setTimeout(() => void start(), RETRY_MS);
    return;
  }
  const asked = new URLSearchParams(location.search).get("workload");
  const chosen = asked === null ? workloads[0] : workloads.find((w) => w.name === asked);
  const select = byId<HTMLSelectElement>("workload");
  select.replaceChildren(...workloads.map((w) => h("option", { value: w.name, selected: w === chosen ? "" : null }, w.name)));
  select.addEventListener("change", () => { location.search = `?workload=${encodeURIComponent(select.value)}`; });
  if (!chosen) {
    // Another one in its place would be read, and paused, for it.
    select.selectedIndex = -1;
    setText(byId("connection"), "nothing to show");
    renderNotices([{ key: "unknown", tone: "bad", text: `There is no workload ${asked}: choose another.` }]);
    return;
  }
  document.title = `${chosen.name} – Foreshadow`;
  new Page(chosen);
}

void start();
