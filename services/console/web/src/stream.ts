// The stream of events of one workload. The browser reconnects by itself after a loss of the network, but not after an
// answer that is no stream, nor when a connection is dead without saying so.

const EVENTS = ["snapshot", "heartbeat", "traffic", "usage", "recommendation", "forecast", "actions", "capacity", "provisioning", "experiments", "status"];
/** Three heartbeats. */
const SILENCE_MS = 15_000;
const RETRY_MS = 2_000;

export interface StreamHandlers {
  event(name: string, data: unknown): void;
  /** Called when the connection is lost (with the time of the browser's clock, in ms) and when it is back (undefined). */
  lost(since: number | undefined): void;
}

/** Opens the stream; the function returned closes it. */
export function openStream(workload: string, handlers: StreamHandlers): () => void {
  let source: EventSource | undefined;
  let watchdog = 0;
  let retry = 0;
  let lostSince: number | undefined;

  const lose = () => {
    lostSince ??= Date.now();
    handlers.lost(lostSince);
  };
  const reopen = () => {
    source?.close();
    clearTimeout(retry);
    retry = window.setTimeout(open, RETRY_MS);
  };
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = window.setTimeout(() => { lose(); reopen(); }, SILENCE_MS);
    if (lostSince !== undefined) handlers.lost(lostSince = undefined);
  };
  function open(): void {
    const opened = source = new EventSource(`/api/v1/workloads/${encodeURIComponent(workload)}/events`);
    for (const name of EVENTS) {
      opened.addEventListener(name, (e) => {
        alive();
        handlers.event(name, JSON.parse((e as MessageEvent<string>).data));
      });
    }
    opened.onerror = () => {
      lose();
      if (opened.readyState === EventSource.CLOSED) reopen();
    };
  }
  const close = () => {
    clearTimeout(watchdog);
    clearTimeout(retry);
    source?.close();
  };
  // A browser has six connections to a server, and a stream takes one: a tab that nobody sees leaves it to the others.
  const seen = () => {
    close();
    if (!document.hidden) open();
  };
  document.addEventListener("visibilitychange", seen);
  seen();
  return () => {
    document.removeEventListener("visibilitychange", seen);
    close();
  };
}
