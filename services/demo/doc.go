// Package demo shows the whole of Foreshadow at work on one machine: a sample web shop as real processes behind the
// replicator, users that send real HTTP requests mixed like a real access log and paced like a real day, and at the end an
// account of what was done, checked against what was sent.
//
//	trace.Pace + trace.Requests -> load -> replicator -> shop instances        everything else: package stack
//	         |                       |
//	  earlier days -> history        +--> report: what users saw, beside what the Kubernetes HPA would have done
package demo
