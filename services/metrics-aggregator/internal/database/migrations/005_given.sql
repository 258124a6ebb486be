-- What an instance was given; null when that is not known.
alter table usage_instance add column given_cpu_cores double precision;
alter table usage_instance add column given_memory_bytes bigint;

---- create above / drop below ----

alter table usage_instance drop column given_cpu_cores;
alter table usage_instance drop column given_memory_bytes;
