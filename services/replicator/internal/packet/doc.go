// Package packet is the passive way in: it reads what a network interface sees, or a pcap file, puts the TCP streams
// together and reads the HTTP/1.1 in them. Nothing of production changes, and production never waits for it.
//
//	kernel ring --packets--> decode --segments--> half, half --bytes--> message, message --exchanges--> tap
//	     |                                    (one per direction of a connection)
//	     +-- what the kernel dropped          ledgers: replicator/packets, replicator/connections, replicator/tap
//
// Streams are put together in the sequence space of TCP, modulo 2^32: segments that come twice, late, overlapping or around
// the wrap end up where they belong. What is missing is waited for, in bounded memory, until the other side has shown that
// it is not late but lost. A gap inside a body whose length is known costs that request; any other costs what stands until
// the next request that begins at a segment's beginning. Either is counted, as `gap`.
//
// What cannot be read is recognised, counted and left alone: TLS, HTTP/2, which needs the header tables of both ends from
// the first byte on, and whatever else is no HTTP/1. A head that two servers may read in two ways (both lengths, bare line
// feeds, folded lines, NUL) is `ambiguous`: it is not copied, for the copy might mean something else than what production saw.
// Traffic mirrored in VXLAN, as virtual private clouds do it, is unpacked.
package packet
