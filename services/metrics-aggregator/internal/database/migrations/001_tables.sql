-- One schema for TimescaleDB and for plain PostgreSQL: the tables and the queries are the same. On plain PostgreSQL the
-- four window tables are partitioned by day, and the service creates and drops the days; on TimescaleDB they are
-- hypertables (002).

create table installation (
    is_only boolean primary key default true check (is_only),
    -- Names the producer of the outbox's events: event ids begin anew with a new database.
    installation_id uuid not null default gen_random_uuid(),
    timescale boolean not null
);
insert into installation (timescale) values ({{ .timescale }});

-- What has been consumed. A chunk moves next_offset by compare-and-set in the transaction of its results.
create table consumer_offset (
    topic text not null,
    partition integer not null,
    next_offset bigint not null,
    primary key (topic, partition)
);

-- The last record of each producer in each partition; one that is not above it is a copy.
create table producer_sequence (
    topic text not null,
    partition integer not null,
    producer_id text not null,
    sequence bigint not null,
    update_time timestamptz not null default now(),
    primary key (topic, partition, producer_id)
);

-- Strata are few and their names long.
create table stratum (
    stratum_id integer generated always as identity primary key,
    route text not null,
    geography text not null,
    device text not null,
    network text not null,
    unique (route, geography, device, network)
);

-- One row per window; the counters are the sum of its strata.
create table traffic_window (
    workload text not null,
    environment smallint not null,
    start_time timestamptz not null,
    width interval not null,
    revision bigint not null,
    max_in_flight bigint not null,
    max_lag_seconds double precision not null,
    requests bigint not null,
    responses bigint not null,
    errors bigint not null,
    slo_violations bigint not null,
    request_bytes bigint not null,
    response_bytes bigint not null,
    sampled bigint not null,
    primary key (workload, environment, start_time, width)
) {{ if not .timescale }}partition by range (start_time){{ end }};

create table traffic_stratum (
    workload text not null,
    environment smallint not null,
    start_time timestamptz not null,
    width interval not null,
    stratum_id integer not null,
    requests bigint not null,
    responses bigint not null,
    errors bigint not null,
    slo_violations bigint not null,
    request_bytes bigint not null,
    response_bytes bigint not null,
    sampled bigint not null,
    -- A foreshadow.v1.LatencySketch.
    latency bytea not null,
    primary key (workload, environment, start_time, width, stratum_id)
) {{ if not .timescale }}partition by range (start_time){{ end }};

create table usage_window (
    workload text not null,
    environment smallint not null,
    start_time timestamptz not null,
    width interval not null,
    revision bigint not null,
    desired_instances integer not null,
    ready_instances integer not null,
    primary key (workload, environment, start_time, width)
) {{ if not .timescale }}partition by range (start_time){{ end }};

create table usage_instance (
    workload text not null,
    environment smallint not null,
    start_time timestamptz not null,
    width interval not null,
    instance text not null,
    cpu_cores double precision not null,
    memory_bytes bigint not null,
    receive_bytes_per_second double precision not null,
    transmit_bytes_per_second double precision not null,
    ready boolean not null,
    primary key (workload, environment, start_time, width, instance)
) {{ if not .timescale }}partition by range (start_time){{ end }};

-- Which windows changed, in the order of their commits per workload; streams follow it.
create table window_change (
    change_id bigint generated always as identity primary key,
    workload text not null,
    environment smallint not null,
    kind smallint not null,
    start_time timestamptz not null,
    width interval not null,
    commit_time timestamptz not null default now()
);
create index window_change_workload on window_change (workload, change_id);

-- Events that are committed but not yet published. Ids of one key are in the order of the commits.
create table outbox (
    outbox_id bigint generated always as identity primary key,
    topic text not null,
    key text not null,
    type text not null,
    create_time timestamptz not null,
    payload bytea not null
);

-- What went into the outbox (one row per writer, so that writers do not wait for each other) and what left it.
create table outbox_tally (
    name text primary key,
    events bigint not null
);

create table capacity_measurement (
    event_id text primary key,
    workload text not null,
    happen_time timestamptz not null,
    payload bytea not null
);
create index capacity_measurement_newest on capacity_measurement (workload, happen_time desc, event_id desc);

create table recommendation (
    event_id text primary key,
    workload text not null,
    happen_time timestamptz not null,
    payload bytea not null
);
create index recommendation_newest on recommendation (workload, happen_time desc, event_id desc);

create table scaling_action (
    event_id text primary key,
    workload text not null,
    happen_time timestamptz not null,
    payload bytea not null
);
create index scaling_action_newest on scaling_action (workload, happen_time desc, event_id desc);

---- create above / drop below ----

drop table scaling_action, recommendation, capacity_measurement, outbox_tally, outbox, window_change, usage_instance,
    usage_window, traffic_stratum, traffic_window, stratum, producer_sequence, consumer_offset, installation;
