-- The oldest version of the schema whose programs can work with this one: N-1 runs beside N, and is started again beside it. A
-- migration that only adds leaves it as it is; one that the previous release cannot work with raises it, and comes a release
-- after the program that no longer needs what it takes away.
alter table installation add column compatible_from integer not null default 4;

---- create above / drop below ----

alter table installation drop column compatible_from;
