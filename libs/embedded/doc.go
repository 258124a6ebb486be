// Package embedded is the default that needs no setup: a Kafka broker inside this program and a private PostgreSQL
// found on this machine.
//
//	foreshadow demo
//	   |
//	   +-- foreshadow broker            RunBroker: franz-go's kfake, one node, on a fixed address
//	   |      |
//	   |      +-- data directory        topics, records, group offsets; omitted = RAM
//	   |
//	   +-- postgres                     StartPostgres: the machine's own server, run as an unprivileged user
//	   |      |
//	   |      +-- data directory        copied from a cached template, made by initdb once per version
//	   |            +-- unix socket     the only way in: who cannot enter the directory cannot connect
//	   |
//	   +-- services                     know only an address and a URL, as in production
//
// The embedded broker is for ONE machine. It speaks the real protocol over TCP, and the same clients use it that
// use a cluster, but it has one node, no replication and no access control: for anything else point the services
// at a Kafka cluster and a TimescaleDB.
//
// # What survives what
//
//	                               broker (DataDir)            postgres
//	kill -9 of a service           everything                  everything that was committed
//	kill -9 of the server itself   every acknowledged record   everything that was committed
//	power cut                      needs SyncWrites            everything that was committed (unless Unsafe)
//
// The broker writes a batch to its file before it acknowledges it, so the kernel has it when the process dies; the
// test that says so kills one and counts. Group offsets, too, are in a log that is written at each commit.
//
// On Linux the server dies with the process that started it, also when that is killed: the kernel sends it
// PostgreSQL's fast shutdown. A start waits for a predecessor that is still on its way out, and removes the lock
// file of one that is not there any more.
package embedded
