import { describe, expect, it } from "vitest";
import { awaiting } from "../src/approve";
import { Store } from "../src/store";
import type { Action, Provisioning } from "../src/types";

const proposal: Action = {
  action_id: "p", recommendation_id: "shop-2", environment: "ENVIRONMENT_PRODUCTION", outcome: "OUTCOME_AWAITING_APPROVAL", reason: "a sale begins", guardrails: ["approval"], startup_seconds: 0, actor: "predictor",
  from: { instances: 2, cpu_cores: 0, memory_bytes: "0", network_bytes_per_second: 0 }, to: { instances: 5, cpu_cores: 0, memory_bytes: "0", network_bytes_per_second: 0 },
};
const waiting = (...ids: string[]): Provisioning => ({ mode: "MODE_APPROVE", paused: false, pause_reason: "", pause_actor: "", production_ready_instances: 2, shadow_ready_instances: 1, awaiting_recommendation_ids: ids });

describe("awaiting", () => {
  it("names the change and its reason", () => {
    const s = new Store();
    s.actions = [proposal];
    s.provisioning = waiting("shop-1", "shop-2");
    expect(awaiting(s)).toEqual({ id: "shop-2", text: "Production 2 → 5 instances waits for approval: a sale begins" });
  });
  it("is nothing once nothing waits, whatever the list of actions still says", () => {
    const s = new Store();
    s.actions = [proposal];
    expect(awaiting(s)).toBeUndefined();
    s.provisioning = waiting();
    expect(awaiting(s)).toBeUndefined();
  });
  it("can be approved before its action has come", () => {
    const s = new Store();
    s.provisioning = waiting("shop-3");
    expect(awaiting(s)).toEqual({ id: "shop-3", text: "Recommendation shop-3 waits for approval" });
  });
});
