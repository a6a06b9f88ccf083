#!lua flags=allow-oom
-- Set by hand how fast a rate group may go, or let it go as fast as its settings say again.
--
-- KEYS  1 rate:<group>
-- ARGV  1 requests/s, '' for as the settings say
-- reply what was set before, '' for nothing
-- cost  O(1); it may run in a full Redis: that is when an operator needs it
local before = redis.call('HGET', KEYS[1], 'override') or ''
if ARGV[1] == '' then
  redis.call('HDEL', KEYS[1], 'override')
else
  redis.call('HSET', KEYS[1], 'override', ARGV[1])
end
return before
