-- How well the copies of a window show production: a foreshadow.v1.SampleConfidence; null when that is not known.
alter table traffic_window add column confidence bytea;

---- create above / drop below ----

alter table traffic_window drop column confidence;
