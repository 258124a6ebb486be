import type { Provisioning, Workload } from "./types";

/** What the gateway says when it refuses. */
export class APIError extends Error {}

export async function listWorkloads(): Promise<Workload[]> {
  return (await call<{ workloads: Workload[] }>("/api/v1/workloads")).workloads;
}

export function pause(workload: string, reason: string, actor: string): Promise<Provisioning | undefined> {
  return order(workload, "pause", { reason, actor });
}

export function resume(workload: string, actor: string): Promise<Provisioning | undefined> {
  return order(workload, "resume", { actor });
}

export function approve(workload: string, recommendation: string, actor: string): Promise<Provisioning | undefined> {
  return order(workload, `recommendations/${encodeURIComponent(recommendation)}/approve`, { actor });
}

async function order(workload: string, verb: string, body: object): Promise<Provisioning | undefined> {
  const answer = await call<{ status?: Provisioning }>(`/api/v1/workloads/${encodeURIComponent(workload)}/${verb}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  return answer.status;
}

async function call<T>(path: string, init?: RequestInit): Promise<T> {
  const resp = await fetch(path, init);
  const body: unknown = await resp.json().catch(() => undefined);
  if (resp.ok) return body as T;
  // A google.rpc.Status; its ErrorInfo names the service that said so.
  const status = body as { message?: string; details?: { metadata?: { backend?: string } }[] } | undefined;
  const backend = status?.details?.find((d) => d.metadata?.backend)?.metadata?.backend;
  throw new APIError(status?.message ? `${backend ? backend + ": " : ""}${status.message}` : `the console answered ${resp.status}`);
}
