#!lua flags=allow-oom
-- Let an account that its provider refuses be probed at once: its keys have changed.
--
-- KEYS  1 account:<account>
-- reply 1 when a probe is due now
-- cost  O(1)
if redis.call('HGET', KEYS[1], 'state') ~= 'stopped' then return 0 end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'probe_at_ms', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
return 1
