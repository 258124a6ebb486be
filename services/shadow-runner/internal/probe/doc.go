// Package probe finds the highest rate one instance carries within its SLO: the knee. It decides and does no I/O: the
// caller holds a load level for a while, hands the fate of each request to Judge, records the step and asks for the next
// rate.
//
//	grow: double until a level breaks the SLO (or halve until one meets it)
//	bisect: halve the bracket between the levels that met it and those that did not, while one verdict can be believed
//	refine: hold longer levels on both sides of the estimate, until its 95 % interval is narrow enough or the steps are used up
//	compare: hold one level far above the knee and one far below, where none was, so that what runs out can be named
//
// A level under which the instance went away did not meet the SLO, and the levels that follow stay clearly below it.
//
// A short step says little about a tail: at two seconds and a hundred requests the same rate passes now and fails then. So no
// single verdict decides. The estimate is where the share of requests that break the SLO, fitted over all steps near the
// knee, crosses what the SLO's quantile forgives; it stays inside what the verdicts allow. Against simulated queues of fixed
// service time it is off by 3 % (root mean square) with steps of 10 s, and by 6 % with steps of 2 s, in seven steps. Once the
// interval is narrower than 5 % it is off by 1.1 % over seven laws, and the interval holds the truth in 95 of 100 runs; of laws that none
// of this was chosen by in 91 to 93, and in 88 to 90 where the SLO forgives only one request in a hundred, for a level then holds
// too few of the bursts that break it.
package probe
