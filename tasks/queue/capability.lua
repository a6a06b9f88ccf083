#!lua flags=allow-oom
-- Find out whether this Redis, and this user, can do what the worker will ask for; changes nothing.
--
-- KEYS  1 workers  2 a list of ready messages
-- reply the commands that are forbidden, or unknown here
-- cost  O(1); it counts as a write, so that a replica refuses it
local commands = {
  'DEL', 'EXISTS', 'EXPIRE', 'EXPIREAT', 'HDEL', 'HEXISTS', 'HGET', 'HINCRBY', 'HKEYS', 'HLEN', 'HMGET', 'HSCAN', 'HSET', 'SADD',
  'SCARD', 'SISMEMBER', 'SMEMBERS', 'SMISMEMBER', 'SREM', 'TTL', 'ZADD', 'ZCARD', 'ZMSCORE', 'ZRANGE', 'ZRANGEBYSCORE', 'ZREM',
  'ZREMRANGEBYRANK', 'ZSCORE',
}
local of_lists = { 'LINDEX', 'LLEN', 'LPOP', 'LPUSH', 'LSET', 'RPOP' }
local missing = {}

local function check(command, ...)
  local known, allowed = pcall(redis.acl_check_cmd, command, ...)
  if not (known and allowed) then missing[#missing + 1] = command end
end

for _, command in ipairs(commands) do check(command, KEYS[1]) end
for _, command in ipairs(of_lists) do check(command, KEYS[2]) end
check('EVAL', 'return 1', '0')
check('EVALSHA', string.rep('0', 40), '0')
check('PING')
check('TIME')
return missing
