// Package local runs instances as processes of this machine: what a kubelet and an API server are to a cluster, for one
// machine and one user.
//
//	services ── Client ──(HTTP/JSON over a unix socket)── Agent ── group ── instance ── process
//
// The Agent owns the processes and nothing else does: whatever ends beside it, the instances serve on. They die with the
// Agent itself, by the kernel's parent-death signal, so that nothing is left behind.
//
// An instance moves one way:
//
//	          ready_path answers 200             fewer wanted
//	Starting ──────────────────────────▶ Ready ──────────────▶ Draining ──▶ gone
//	    │ not in time, or it ended         │ 3 checks failed, or it ended       (SIGTERM, drain_timeout, SIGKILL)
//	    └──────────────▶ Failed ◀──────────┘
//	                       └── replaced, at once after a long good life, else with a growing delay
//
// Draining is announced before the process is told to stop, so that proxies send it no new request; it is never revived.
// A check that is refused or answered with another status has failed. One that is not answered in time says that the instance is
// busy: it is given 30 s, for one that is replaced under load leaves more of it to the others.
//
// A Failed instance stays listed until its replacement starts, so that the failure can be seen.
//
// The instances of a trial are bounded in CPU and memory by control groups where the Agent may make some, see package cgroup;
// where it may not, a trial that asks for it is refused with the reason. Others are not bounded.
//
// The API is that of package agent.
package local
