#!lua flags=allow-oom
-- Note what a worker says of itself, and the last failed attempt of each account that had one.
--
-- KEYS  1 worker:<worker>  2 deployments  3 deployment:<digest>  then last-error:<account> ...
-- ARGV  1 the worker's note (JSON)  2 its lifetime (s)  3 that of a last error (s)
--       4 digest of the accounts' settings  5 how many accounts are told, 0 unless the last reply asked for them,
--       then two for each: name, what the settings say of it
--       then four for each last error: its age (ms), class, code, message
-- reply { "1" if the accounts are not known and have to be told, digest of each deployment that has a living worker ... }
-- cost  O(last errors + deployments, at most ten); they replace what is there, so that a full Redis takes them, too
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], 'note', ARGV[1], 'seen_ms', now)
redis.call('EXPIRE', KEYS[1], ARGV[2])

redis.call('ZADD', KEYS[2], now, ARGV[4])
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - 1000 * ARGV[2], 'LIMIT', 0, MOST_DEPLOYMENTS)) do
  redis.call('ZREM', KEYS[2], digest)
end
local told = tonumber(ARGV[5])
for i = 6, 5 + 2 * told, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[3], ARGV[2])
local reply = redis.call('ZRANGEBYSCORE', KEYS[2], now - ALIVE_MS, now + ALIVE_MS, 'LIMIT', 0, MOST_DEPLOYMENTS)
table.insert(reply, 1, redis.call('EXISTS', KEYS[3]) == 0 and '1' or '0')

for i = 4, #KEYS do
  local at = 6 + 2 * told + 4 * (i - 4)
  local happened = now - tonumber(ARGV[at])
  -- workers tell once a second, not in the order in which it happened
  local known = redis.pcall('HGET', KEYS[i], 'at_ms')
  if type(known) ~= 'table' and happened >= (tonumber(known) or 0) then
    redis.call('HSET', KEYS[i], 'at_ms', happened, 'class', ARGV[at + 1], 'code', ARGV[at + 2], 'message', ARGV[at + 3])
    redis.call('EXPIRE', KEYS[i], ARGV[3])
  end
end
return reply
