// Package database opens and shapes the aggregator's database: it migrates, finds out whether TimescaleDB is there, and
// keeps the storage of the window tables: days are created before rows come for them and dropped when they have expired.
//
//	              same tables, same queries
//	TimescaleDB:  hypertables, compression, a continuous aggregate   expiry: drop_chunks
//	PostgreSQL:   one partition per day (UTC), made on demand        expiry: drop table
//
// Which of the two it is was decided by the first migration and stays.
package database
