// Checks a demo's report.json for what CI promises: every invariant held, ramps were met, and fewer requests suffered than
// under the Kubernetes HPA at no more than 1.15 times its instance-seconds.
"use strict";
const report = JSON.parse(require("node:fs").readFileSync(process.argv[2], "utf8"));
const failures = report.invariants.filter((i) => !i.ok).map((i) => `${i.name}: ${i.detail}`);
const row = (name, source) => report.policies.find((p) => p.policy.startsWith(name) && p.source === source);
const foreshadow = row("Foreshadow", "measured");
const hpa = row("HPA", "modelled");
if (!foreshadow || !hpa) failures.push("the comparison is missing");
else {
  if (foreshadow.violating_requests >= hpa.violating_requests)
    failures.push(`${foreshadow.violating_requests} violating requests, the HPA ${hpa.violating_requests}`);
  if (foreshadow.instance_seconds > 1.15 * hpa.instance_seconds)
    failures.push(`${foreshadow.instance_seconds} instance-seconds, the HPA ${hpa.instance_seconds}`);
}
const met = report.ramps.filter((r) => r.met).length;
if (met < 2) failures.push(`${met} of ${report.ramps.length} ramps met by instances that were ready before`);
for (const f of failures) console.error("report:", f);
process.exit(failures.length ? 1 : 0);
