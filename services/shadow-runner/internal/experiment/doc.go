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
package experiment
