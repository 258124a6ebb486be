// Numbers with their units. What is not known is a dash, never a zero.

export const UNKNOWN = "–";

/** Three significant digits, no exponent. */
export function number(v: number | null | undefined): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return UNKNOWN;
  const a = Math.abs(v);
  const digits = a >= 100 || a === 0 ? 0 : a >= 10 ? 1 : 2;
  return v.toLocaleString("en-GB", { maximumFractionDigits: digits });
}

/** Seconds of latency in ms or s. */
export function latency(seconds: number | null | undefined): [value: string, unit: string] {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return [UNKNOWN, ""];
  return seconds < 1 ? [number(seconds * 1000), "ms"] : [number(seconds), "s"];
}

/** A length of time as people say it. */
export function duration(seconds: number | undefined): string {
  if (seconds === undefined || !Number.isFinite(seconds)) return UNKNOWN;
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** Local time of day, 24 hours. */
export function timeOfDay(seconds: number): string {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour12: false });
}

/** Local time of day, after the date where that is not the one of now. */
export function clock(seconds: number, now = Date.now() / 1000): string {
  const date = (s: number) => new Date(s * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return Number.isFinite(seconds) && date(seconds) !== date(now) ? `${date(seconds)} ${timeOfDay(seconds)}` : timeOfDay(seconds);
}

export function percent(ratio: number): string {
  return `${number(ratio * 100)} %`;
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${number(n)} ${units[i]}`;
}

/** The name of a quantile: 0.95 is p95. */
export function quantile(q: number): string {
  return `p${+(q * 100).toFixed(3)}`;
}

/** A proto enum value for people: POLICY_PREDICTIVE is "predictive". */
export function enumName(value: string, prefix: string): string {
  return value.replace(prefix, "").toLowerCase().replaceAll("_", " ");
}

/** Seconds since the epoch of an RFC 3339 time; NaN when there is none. */
export function seconds(time: string | undefined): number {
  return time === undefined ? NaN : Date.parse(time) / 1000;
}
