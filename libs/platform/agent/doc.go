// Package agent is how services talk to a platform that is a process of its own: JSON over HTTP over a unix socket. The agent
// alone owns the instances, and whatever owning them takes, the socket of a Docker engine for example; its clients can only
// ask for what is below, of the groups that were declared.
//
//	GET /v1/groups/{group}                    platform.State
//	GET /v1/groups/{group}?after=<revision>   the same, once the revision is another one or after 20 s
//	GET /v1/groups/{group}/usage              [platform.Usage]
//	PUT /v1/groups/{group}                    platform.Change -> platform.State; 409 when fenced off
//	POST /v1/groups/{group}/trials            platform.Trial -> platform.State; starts it, or renews its lease
//	DELETE /v1/groups/{group}/trials/{trial}  ends it
//
// A trial is a group, too, called <group>.<trial>. It ends with its lease, and with the agent.
//
// N beside N-1: an answer may have keys that its reader does not know, and lack those that it does; a change that has a key
// the agent does not know is refused, since part of it would be left undone.
package agent
