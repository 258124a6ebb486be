// Package docker scales containers of a Docker engine: those of a service of Docker Compose, or any that share labels. What a
// kubelet, a ReplicaSet and an API server are to a cluster, for one engine.
//
//	services ── agent.Client ──(unix socket)── Agent ── group ──(Engine API)── containers
//
// Whoever can ask the engine for a container is root on its machine. So one process alone, the Agent, is given the engine's
// socket, better still a proxy of it that lets through /containers alone; everything else asks the Agent, of whom one can
// only have the declared groups scaled and measured.
//
// The container that the user made, with `docker compose up` for example, is the template: it is one of the instances, every
// further one is made like it (image, command, environment, mounts, limits, networks; published ports are left out, since a
// port of the machine is there once), and it goes last and is then stopped, not removed. The labels of Compose are kept, so
// that `docker compose ps`, `logs` and `down` know the instances.
//
//	   started, ready_path answers 200         fewer wanted
//	Starting ──────────────────────▶ Ready ──────────────▶ Draining ──▶ stopped, and removed if it is a clone
//	    │ not in time, or it ended     │ 3 checks failed, or it ended   (SIGTERM after a grace, drain_timeout, SIGKILL)
//	    └──────────▶ Failed ◀──────────┘
//	                   └── replaced (a clone) or started again (the template), with a growing delay
//
// A check that is refused or answered with another status has failed. One that is not answered in time says that the instance is
// busy: it is given 30 s, for one that is replaced under load leaves more of it to the others. Without a ready_path the container's
// own health check is asked of the engine; while the engine does not answer, nothing is held against the instance.
//
// Containers live on when the Agent ends. How many are wanted, the generation of the last change and the containers that were
// known are in a file; an Agent that starts goes on from there. A container that comes without the Agent having made it, or
// is removed without it, is somebody else's change: as many are wanted from then on as there are, and the state says so.
//
// A trial of an experiment is containers like the template but for what is tried, without its labels, aliases and restart
// policy, so that nobody takes them for the group. They are removed when its lease is over and when the Agent ends; what an
// Agent that was killed has left, the next one removes before there is another trial.
//
// CPU and memory of running containers are changed by the engine's update, first of one instance, then of the rest, and new
// ones are made with them. The engine bounds no network bandwidth; a change of it is ignored.
package docker
