// Package relay has every client reach the provisioner that leads, whichever of them it was connected to.
//
//	client ──▶ listener ──▶ this one leads:    its gRPC server
//	                   ├──▶ another one leads: the address it gave in the lease, byte for byte
//	                   └──▶ nobody is known to, or that is changing: closed at once; clients see UNAVAILABLE and come again
//
// Nothing is understood of what is passed on, so that encryption, and with it who calls, are between the client and the leader.
// Where callers have no identity but their address, that of the reserve counts for all who come through it.
//
// When the leadership changes, what was passed on is closed, and what a leader that was deposed had accepted: whoever comes again
// finds the new one. So nobody is answered by what one knew that leads no more.
//
// Connections never go in a ring. Who leads passes none on, and who is about to forgets first who led before. So were there a ring,
// the one in it that looked at the lease last would have seen a leader that has looked at it earlier, and has forgotten that since.
// An address that is this process's own (that of a leader that is gone, given to a new pod) is nobody's.
package relay
