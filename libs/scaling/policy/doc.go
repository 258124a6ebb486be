// Package policy holds what people scale with, behind simulate's one interface: Foreshadow itself (the same
// scaling.Decide that runs live), the exact Kubernetes HPA, and the alternatives it is compared with.
//
// Every policy is given what it needs to be at its best: its own target to sweep, and the measured capacity where it can
// use one. A policy remembers its past, so one value serves one run.
package policy
