#!lua flags=allow-oom
-- Step a rate group down after the provider throttled it; at most once a second, however many answers say so.
--
-- KEYS  1 rate:<group>
-- ARGV  1 configured rate (1/s)  2 factor  3 lowest rate (1/s)  4 how long the provider wants to be left alone (ms)
-- reply the effective rate now (1/s)
-- cost  O(1)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local stored = redis.call('HMGET', KEYS[1], unpack(RATE_FIELDS))
local rate = effective_rate(tonumber(ARGV[1]), stored, now)
local fell = tonumber(stored[3] or 0)
if now - fell >= 1000000 or fell > now then
  redis.call('HSET', KEYS[1], 'top', string.format('%.3f', rate), 'lowered_us', string.format('%.0f', now))
  -- since when it is throttled, for people: until it is back at its whole rate
  local most = math.min(tonumber(ARGV[1]), tonumber(stored[4] or ARGV[1]))
  if rate >= most then
    redis.call('HSET', KEYS[1], 'throttled_ms', string.format('%.0f', math.floor(now / 1000)))
  end
  rate = math.max(tonumber(ARGV[3]), rate * tonumber(ARGV[2]))
  redis.call('HSET', KEYS[1], 'rate', string.format('%.3f', rate))
end
local pause = now + tonumber(ARGV[4]) * 1000
if pause > math.max(now, tonumber(stored[6] or 0)) then
  redis.call('HSET', KEYS[1], 'pause_us', string.format('%.0f', pause))
end
return string.format('%.3f', rate)
