// What waits for a person, and the button that lets it be carried out.
import { approve } from "./api";
import { byId, setText } from "./dom";
import { actorOf, rememberActor } from "./pause";
import type { Store } from "./store";
import type { Action, Provisioning } from "./types";

/** The proposal that the newest approval would carry out; undefined when nothing waits. */
export function awaiting(store: Store): { id: string; text: string } | undefined {
  const id = store.provisioning?.awaiting_recommendation_ids?.at(-1);
  if (!id) return undefined;
  const action = store.actions?.find((a: Action) => a.recommendation_id === id && a.outcome === "OUTCOME_AWAITING_APPROVAL");
  const change = action ? `Production ${action.from?.instances ?? "?"} → ${action.to?.instances ?? "?"} instances` : `Recommendation ${id}`;
  return { id, text: `${change} waits for approval${action?.reason ? ": " + action.reason : ""}` };
}

export class ApproveControl {
  private readonly proposal = byId("proposal");
  private readonly button = byId<HTMLButtonElement>("approve");
  private readonly dialog = byId<HTMLDialogElement>("approve-dialog");
  private readonly error = byId("approve-error");
  private readonly actor = byId<HTMLInputElement>("approve-actor");
  private shown: string | undefined;
  /** What the dialog was opened about: a newer proposal is not approved unread. */
  private asked: string | undefined;

  /** changed is given the state that the provisioner answered with. */
  constructor(private readonly workload: string, private readonly changed: (p: Provisioning | undefined) => void) {
    this.button.addEventListener("click", () => {
      this.asked = this.shown;
      this.actor.value = actorOf();
      setText(this.error, "");
      setText(byId("approve-what"), byId("proposal-text").textContent ?? "");
      this.dialog.showModal();
    });
    byId("approve-cancel").addEventListener("click", () => this.dialog.close());
    byId("approve-form").addEventListener("submit", (e) => {
      e.preventDefault();
      void this.approve();
    });
  }

  render(store: Store): void {
    const waits = awaiting(store);
    this.shown = waits?.id;
    this.proposal.hidden = !waits;
    setText(byId("proposal-text"), waits?.text ?? "");
  }

  private async approve(): Promise<void> {
    if (!this.asked) return;
    const actor = this.actor.value.trim();
    rememberActor(actor);
    try {
      this.changed(await approve(this.workload, this.asked, actor));
      this.dialog.close();
    } catch (e) {
      setText(this.error, `Not done: ${e instanceof Error ? e.message : String(e)}.`);
    }
  }
}
