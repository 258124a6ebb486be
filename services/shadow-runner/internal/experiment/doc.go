// Package experiment keeps the what-if experiments of a runner and serves ExperimentService over them. It knows what was
// asked for and how far it has come; holding the loads is the work of whoever takes the jobs.
//
//	CreateExperiment --> durable --> Take --> hold a load --> durable --> ... --> Finish --> durable
//	                       |                                     |
//	        kill -9: ------+-------- goes on from the last ------+--> the load that was being held is held again
//
// Every change is in the log before it is seen by anyone, so a runner that is killed goes on where it was: a load that was
// recorded is not held again, one that was not leaves no trace. The log is a topic and not a file of the runner's: a runner
// that is started on another machine goes on all the same, and it needs no volume.
//
// Runners over one log agree on who carries an experiment out. Each change is a whole new revision of the experiment; of those that
// were made of the same one the first in the log counts, for every reader, and who wrote another reads that and makes its change anew.
//
//	A: revision 3, runner A ---> counts                A records, or renews, several times in a lease
//	B: revision 3, runner B ---> void: A was first     B waits until A has been silent for a lease
//	A is killed, or stopped                            B: revision 9, runner B ---> counts
//	A wakes up: revision 9, a cell ---> void           A reads revision 9, and stops
//
// Which experiments there are they agree on in the same way. A record that begins one is void when another is running by the log up
// to there, or was begun by the same request: of two that begin one at the same moment, the second learns so by reading its own record
// back, and answers with the first, or that it is running.
//
// Nobody compares clocks: a lease is counted from when the last record was read, and who cannot renew stops after two thirds of one,
// counted from when it began to write. A request of a process that was stopped in the middle of sending it may still leave when that
// wakes up; what comes of it counts for nothing.
package experiment
