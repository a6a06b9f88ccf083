#!lua flags=allow-oom
-- Set by hand how fast a rate group may go, or let it go as fast as its settings say again.
--
-- KEYS  1 rate:<group>
-- ARGV  1 requests/s, '' for as the settings say  2 who wants it so  3 why
-- reply what was set before, '' for nothing
-- cost  O(1); it may run in a full Redis: that is when an operator needs it
local before = redis.call('HGET', KEYS[1], 'override') or ''
if ARGV[1] == '' then
  redis.call('HDEL', KEYS[1], 'override', 'override_for', 'override_by', 'override_why', 'override_ms')
else
  -- for people; `override_for` tells whose words these are, where another version has changed the rate since
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'override', ARGV[1], 'override_for', ARGV[1], 'override_by', ARGV[2],
    'override_why', ARGV[3], 'override_ms', now[1] .. string.format('%03d', math.floor(tonumber(now[2]) / 1000)))
end
return before
