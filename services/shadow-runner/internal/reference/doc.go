// Package reference is servers whose capacity is known, to measure the measuring with: the law of a server says what it
// carries, a queue in virtual time and a real HTTP server behave by it.
//
//	Law --+-- Knee   the rate at which the SLO is just met, from the textbook formula
//	      +-- Hold   a load level in virtual time: minutes of it in milliseconds
//	      +-- Serve  the same over real sockets
//
// It is no part of the runner: tests and make bench-shadow use it.
package reference
