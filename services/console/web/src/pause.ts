// The button that stops the provisioner, and starts it again.
import { pause, resume } from "./api";
import { byId, setText } from "./dom";
import { clock, enumName, seconds } from "./format";
import { recall, remember } from "./storage";
import type { Provisioning } from "./types";

const ACTOR_KEY = "foreshadow-actor";

/** The name that orders were given in last, in this browser. */
export function actorOf(): string {
  return recall(ACTOR_KEY) ?? "";
}

export function rememberActor(actor: string): void {
  remember(ACTOR_KEY, actor);
}

export class PauseControl {
  private readonly button = byId<HTMLButtonElement>("pause");
  private readonly dialog = byId<HTMLDialogElement>("pause-dialog");
  private readonly error = byId("pause-error");
  private readonly actor = byId<HTMLInputElement>("pause-actor");
  private readonly reason = byId<HTMLInputElement>("pause-reason");
  private paused = false;
  private busy = false;
  private resumeError = "";

  /** changed is given the state that the provisioner answered with. */
  constructor(private readonly workload: string, private readonly changed: (p: Provisioning | undefined) => void) {
    this.actor.value = actorOf();
    this.button.addEventListener("click", () => {
      if (this.paused) return void this.resume();
      setText(this.error, "");
      this.reason.value = "";
      this.dialog.showModal();
    });
    byId("pause-cancel").addEventListener("click", () => this.dialog.close());
    byId("pause-form").addEventListener("submit", (e) => {
      e.preventDefault();
      void this.pause();
    });
  }

  render(p: Provisioning | undefined): void {
    const mode = byId("mode");
    setText(mode, p ? (p.paused ? "paused" : enumName(p.mode, "MODE_")) : "not known");
    mode.dataset["tone"] = p?.paused ? "warn" : p?.mode === "MODE_AUTOMATIC" ? "good" : "quiet";
    this.paused = p?.paused ?? false;
    this.button.disabled = !p || this.busy;
    setText(this.button, this.paused ? "Resume" : "Pause…");
    const note = byId("paused");
    note.hidden = !this.paused && !this.resumeError;
    if (this.paused && p) setText(note, `${this.resumeError ? this.resumeError + " " : ""}Paused by ${p.pause_actor || "someone"} at ${clock(seconds(p.pause_time))}: ${p.pause_reason}`);
    else setText(note, this.resumeError);
  }

  private async pause(): Promise<void> {
    const actor = this.actor.value.trim();
    rememberActor(actor);
    const refused = await this.order(() => pause(this.workload, this.reason.value.trim(), actor));
    setText(this.error, refused);
    if (!refused) this.dialog.close();
  }

  private async resume(): Promise<void> {
    this.resumeError = await this.order(() => resume(this.workload, this.actor.value.trim()));
  }

  /** Sends an order; the answer says why it was not carried out, empty when it was. */
  private async order(send: () => Promise<Provisioning | undefined>): Promise<string> {
    this.busy = true;
    try {
      this.changed(await send());
      return "";
    } catch (e) {
      return `Not done: ${e instanceof Error ? e.message : String(e)}.`;
    } finally {
      this.busy = false;
    }
  }
}
