// What is away and what has nothing to say, as sentences.
import { clock, duration, seconds } from "./format";
import type { Status } from "./types";

export interface Notice {
  key: string;
  tone: "bad" | "warn";
  text: string;
}

/** A backend that has just been dialled for the first time is not away yet. */
const GRACE_SECONDS = 2;

const SHOWS: Record<string, string> = {
  "metrics-aggregator": "Windows, measurements and past decisions are not updated.",
  predictor: "There are no new forecasts and decisions.",
  provisioner: "Its actions and its state are not updated; pausing does not work.",
  "shadow-runner": "Nothing is replayed or measured in the shadow.",
};

const SOURCES: Record<string, string> = {
  windows: "Windows", recommendations: "Recommendations", forecast: "Forecast", actions: "Actions",
  capacity: "Capacity", provisioning: "Provisioner state", experiments: "Experiments",
};

export function notices(status: Status, now: number): Notice[] {
  const away = (status.backends ?? []).filter((b) => !b.reachable && now - seconds(b.since) >= GRACE_SECONDS);
  const list: Notice[] = away.map((b) => ({
    key: `away ${b.name}`, tone: "bad",
    text: `${b.name} is away since ${clock(seconds(b.since))} (${duration(now - seconds(b.since))}), no connection to ${b.address}. ${SHOWS[b.name] ?? ""}`,
  }));
  const awayNames = new Set((status.backends ?? []).filter((b) => !b.reachable).map((b) => b.name));
  for (const [source, p] of Object.entries(status.problems).sort(([a], [b]) => a.localeCompare(b))) {
    // The tile and the chart of the forecast say themselves that it abstains.
    if (awayNames.has(p.backend) || (source === "forecast" && p.code === "FAILED_PRECONDITION")) continue;
    list.push({ key: `problem ${source}`, tone: "warn", text: `${SOURCES[source] ?? source}: ${p.backend} answers ${p.code} since ${clock(seconds(p.since))}: ${p.message}` });
  }
  return list;
}
