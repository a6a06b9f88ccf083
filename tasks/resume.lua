#!lua flags=allow-oom
-- Let a stopped account run again: its probe was delivered.
--
-- KEYS  1 account:<account>
-- reply 1 when this call resumed it
if redis.call('HGET', KEYS[1], 'state') ~= 'stopped' then return 0 end
redis.call('HDEL', KEYS[1], 'state', 'code', 'message', 'since_ms', 'probe_at_ms', 'permanent_run')
return 1
