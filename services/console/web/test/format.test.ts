import { describe, expect, it } from "vitest";
import { clock } from "../src/format";

const at = (time: string) => new Date(time).getTime() / 1000;

describe("clock", () => {
  it("says the date of what was not today", () => {
    const now = at("2026-11-28T00:10:00");
    expect(clock(at("2026-11-28T00:01:02"), now)).toBe("00:01:02");
    expect(clock(at("2026-11-27T23:59:00"), now)).toBe("27 Nov 23:59:00");
    expect(clock(NaN, now)).toBe("–");
  });
});
