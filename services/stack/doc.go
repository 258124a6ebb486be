// Package stack runs the whole of Foreshadow on one machine, as child processes of this one: the embedded broker and
// PostgreSQL, the local platform, the five services and the console.
//
//	postgres, broker, local-platform  ->  metrics-aggregator  ->  predictor, provisioner, shadow-runner, console, replicator
//	                       (each waits for the ones before it; stopped in reverse)
//
// A child that ends by itself is started again. When this process ends, however it ends, no child is left behind. Addresses
// reach the children through the environment, so that the user's configuration file stays what it is.
package stack
