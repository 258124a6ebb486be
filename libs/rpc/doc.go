// Package rpc is how every service of Foreshadow meets others over gRPC. An Edge holds what all servers and clients of a
// process share: certificates, tokens, who may call what, and limits.
//
//	connection ──▶ limits per address ──▶ TLS 1.3, client certificate ──▶ HTTP/2
//	call       ──▶ who is it?  token, else certificate, else address          UNAUTHENTICATED
//	           ──▶ may it call this?  rpc.allow                               PERMISSION_DENIED
//	           ──▶ too often, too many at once?                               RESOURCE_EXHAUSTED
//	           ──▶ request within size and time ──▶ handler ──▶ Status: one place that maps errors to codes and details
//
// Everything down to the third question is answered from the headers of a call, before a byte of its body is read. Plain
// text is the default on loopback and refused elsewhere unless the configuration says `insecure`. Every server has health
// per service and reflection; health may be asked without credentials, as probes do.
package rpc
