#!lua flags=allow-oom
-- Stop an account, or note why it stays stopped; one that an operator paused stays as it is.
--
-- KEYS  1 account:<account>
-- ARGV  1 code  2 message  3 probe interval (ms)  4 how long ago the request began (ms)
-- reply 1 when this call stopped it
-- cost  O(1)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'state', 'resumed_ms')
local state, resumed = known[1] or 'running', tonumber(known[2] or 0)
if now - tonumber(ARGV[4]) < resumed and resumed <= now then return 0 end -- it tells of what was fixed since
if state ~= 'running' and not PROBED[state] then return 0 end
redis.call('HSET', KEYS[1], 'code', ARGV[1], 'message', ARGV[2])
if state == 'stopped' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'stopped', 'since_ms', now, 'probe_at_ms', now + tonumber(ARGV[3]))
return 1
