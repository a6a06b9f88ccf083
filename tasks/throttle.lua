#!lua flags=allow-oom
-- Step a rate group down after the provider throttled it; at most once a second, however many answers say so.
--
-- KEYS  1 rate:<group>
-- ARGV  1 configured rate (1/s)  2 factor  3 lowest rate (1/s)
-- reply the effective rate now (1/s)
-- cost  O(1)
local configured, factor, floor = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local stored = redis.call('HMGET', KEYS[1], 'rate', 'lowered_us')
local rate, since = tonumber(stored[1] or configured), tonumber(stored[2] or 0)
rate = math.min(configured, rate + configured * 0.02 * math.max(0, (now - since) / 1000000))
if now - since >= 1000000 then
  rate = math.max(floor, rate * factor)
  redis.call('HSET', KEYS[1], 'rate', string.format('%.3f', rate), 'lowered_us', string.format('%.0f', now))
end
return string.format('%.3f', rate)
