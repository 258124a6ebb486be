// Package accesslog is the way in for those who want nothing in the path of their traffic: it reads the access log that a
// web server writes anyway, live or once, and hands each line to the tap as a request.
//
//	file --lines--> format --entry--> tap          ledger replicator/log: lines seen = passed + dropped{reason}
//
// What a log does not hold is not made up: bodies never travel, headers only as far as the format has them, and without a
// duration there is no latency. Every line that is no request is dropped with a named reason, never with a crash.
//
// Followed, a log is read as it grows: a file that was renamed away is read to its end before the new one of the old name
// is begun, and one that was cut to nothing is begun anew, also when it has grown beyond its former size since: what stands
// before the place that is read from is compared at each look. What was written after the last look before a cut is in the
// rotation's copy alone; rotating by rename loses nothing. Read once, its requests arrive with the distances they have in the
// log, moved to now; those of a second that the log does not divide are spread evenly over it.
package accesslog
