#!lua flags=allow-oom
-- Note what a worker says of itself, and the last failed attempt of each account that had one.
--
-- KEYS  1 worker:<worker>  then last-error:<account> ...
-- ARGV  1 the worker's note (JSON)  2 its lifetime (s)  3 that of a last error (s)
--       then four for each last error: its age (ms), class, code, message
-- cost  O(last errors); they replace what is there, so that a full Redis takes them, too
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], 'note', ARGV[1], 'seen_ms', now)
redis.call('EXPIRE', KEYS[1], ARGV[2])
for i = 2, #KEYS do
  local at = 4 * (i - 1)
  local happened = now - tonumber(ARGV[at])
  -- workers tell once a second, not in the order in which it happened
  if happened >= tonumber(redis.call('HGET', KEYS[i], 'at_ms') or 0) then
    redis.call('HSET', KEYS[i], 'at_ms', happened, 'class', ARGV[at + 1], 'code', ARGV[at + 2], 'message', ARGV[at + 3])
    redis.call('EXPIRE', KEYS[i], ARGV[3])
  end
end
