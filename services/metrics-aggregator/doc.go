// Package aggregator is the door of the metrics-aggregator: it merges observations into windows exactly once, collects
// resource usage, owns the database, and serves HistoryService. No other service opens the database.
//
//	metrics.observed ──> ingest ──┐                       ┌──> outbox relay ──> metrics.windowed
//	capacity, scaling ─> ingest ──┼──> one transaction ───┤
//	platform ──────────> usage  ──┘     in PostgreSQL     └──> history (gRPC)
//
// Killing it at any moment loses no window and counts none twice. Several may run: Kafka shares the partitions among them
// and the database decides who owns one.
package aggregator
