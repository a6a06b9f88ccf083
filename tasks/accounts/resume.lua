#!lua flags=allow-oom
-- Let an account run again: its probe was answered.
--
-- KEYS  1 account:<account>  2 breaker:<account>
-- ARGV  1 "1" when the probe was delivered, "0" when the provider said something else  2 configured rate (1/s)
-- reply 1 when this call let it run
-- cost  O(1)
--
-- Any answer shows that an outage is over, and then the account's rate ramps up (lease.lua). What the provider has
-- against an account is proved wrong by a delivery alone; after one, a run of refusals is the events' fault for a while
-- (settle.lua).
local state, code, keep_going = unpack(redis.call('HMGET', KEYS[1], 'state', 'code', 'keep_going'))
if state ~= 'open' and not (state == 'stopped' and ARGV[1] == '1') then return 0 end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('DEL', KEYS[1], KEYS[2])
if keep_going then redis.call('HSET', KEYS[1], 'keep_going', keep_going) end
if state == 'open' then
  redis.call('HSET', KEYS[1], 'resumed_ms', now, 'ramp_rate', ARGV[2])
elseif code == REFUSED_RUN_CODE then
  redis.call('HSET', KEYS[1], 'cleared_ms', now)
end
return 1
