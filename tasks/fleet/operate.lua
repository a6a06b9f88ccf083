#!lua flags=allow-oom
-- Put an account into the state that an operator wants, whatever it is in.
--
-- KEYS  1 account:<account>  2 breaker:<account>
-- ARGV  1 "held", "shed" or "running"  2 by whom  3 why
--       4 "1": no run of refusals stops it from now on, until it is made to run without that
-- reply the state before, its code and its message ('' where there is none)
-- cost  O(1); it may run in a full Redis: that is when an operator needs it
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = redis.call('HMGET', KEYS[1], 'state', 'code', 'message', 'keep_going')
redis.call('DEL', KEYS[1], KEYS[2])
if ARGV[1] == 'running' then
  -- requests that began before tell of what the operator knows already
  redis.call('HSET', KEYS[1], 'resumed_ms', now)
  if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'keep_going', ARGV[2]) end
else
  if before[4] then redis.call('HSET', KEYS[1], 'keep_going', before[4]) end
  redis.call('HSET', KEYS[1], 'state', ARGV[1], 'by', ARGV[2], 'message', ARGV[3], 'since_ms', now)
end
return { before[1] or 'running', before[2] or '', before[3] or '' }
