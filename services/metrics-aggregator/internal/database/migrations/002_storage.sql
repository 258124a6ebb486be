{{ if .timescale }}
select create_hypertable('traffic_window', 'start_time', chunk_time_interval => interval '1 day');
select create_hypertable('traffic_stratum', 'start_time', chunk_time_interval => interval '1 day');
select create_hypertable('usage_window', 'start_time', chunk_time_interval => interval '1 day');
select create_hypertable('usage_instance', 'start_time', chunk_time_interval => interval '1 day');

-- A window is revised within seconds; a week leaves room for history that is imported, which is slower to merge later.
alter table traffic_window set (timescaledb.compress, timescaledb.compress_segmentby = 'workload, environment', timescaledb.compress_orderby = 'start_time, width');
alter table traffic_stratum set (timescaledb.compress, timescaledb.compress_segmentby = 'workload, environment', timescaledb.compress_orderby = 'start_time, width, stratum_id');
alter table usage_window set (timescaledb.compress, timescaledb.compress_segmentby = 'workload, environment', timescaledb.compress_orderby = 'start_time, width');
alter table usage_instance set (timescaledb.compress, timescaledb.compress_segmentby = 'workload, environment', timescaledb.compress_orderby = 'start_time, width, instance');
select add_compression_policy('traffic_window', interval '7 days');
select add_compression_policy('traffic_stratum', interval '7 days');
select add_compression_policy('usage_window', interval '7 days');
select add_compression_policy('usage_instance', interval '7 days');

-- For dashboards: HistoryService never reads it, for an aggregate lags behind windows that are revised late.
create materialized view traffic_minute with (timescaledb.continuous, timescaledb.materialized_only = false) as
select workload, environment, time_bucket(interval '1 minute', start_time) as minute,
    sum(requests) as requests, sum(responses) as responses, sum(errors) as errors, sum(slo_violations) as slo_violations,
    sum(request_bytes) as request_bytes, sum(response_bytes) as response_bytes, sum(sampled) as sampled,
    max(max_in_flight) as max_in_flight
from traffic_window
group by workload, environment, time_bucket(interval '1 minute', start_time)
with no data;
select add_continuous_aggregate_policy('traffic_minute', start_offset => null, end_offset => interval '2 minutes', schedule_interval => interval '1 minute');
{{ else }}
create view traffic_minute as
select workload, environment, date_bin(interval '1 minute', start_time, timestamptz 'epoch') as minute,
    sum(requests) as requests, sum(responses) as responses, sum(errors) as errors, sum(slo_violations) as slo_violations,
    sum(request_bytes) as request_bytes, sum(response_bytes) as response_bytes, sum(sampled) as sampled,
    max(max_in_flight) as max_in_flight
from traffic_window
group by workload, environment, date_bin(interval '1 minute', start_time, timestamptz 'epoch');
{{ end }}

---- create above / drop below ----

{{ if .timescale }}drop materialized view traffic_minute;{{ else }}drop view traffic_minute;{{ end }}
