#!lua flags=allow-oom
-- Write down one change by hand; the stream keeps about the last so many.
--
-- KEYS  1 audit
-- ARGV  1 how many are kept  2 action  3 by whom  4 details (JSON)
-- reply the entry's id, which begins with the ms of Redis' clock
-- cost  O(1); it may run in a full Redis: what it adds is bounded, and an operator must be able to act there
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'action', ARGV[2], 'by', ARGV[3], 'details', ARGV[4])
