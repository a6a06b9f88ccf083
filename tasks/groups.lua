#!lua flags=allow-oom
-- Name the rate group of each account so that a new key id makes no second limiter beside the first.
--
-- KEYS  1 groups, a HASH: the group that follows from a key id to the one in force, and "@<account>" to its group
-- ARGV  for each account: name, provider, the group that follows from its key id
-- reply the group in force of each
-- cost  O(accounts); it adds two fields for each account, and one for each new key id
--
-- Who has the key already shares its limiter; else the account keeps the group that it had under its last key.
local reply = {}
for i = 1, #ARGV, 3 do
  local account, provider, derived = '@' .. ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local group = redis.call('HGET', KEYS[1], derived)
  if not group then
    local last = redis.call('HGET', KEYS[1], account)
    group = last and string.sub(last, 1, #provider + 1) == provider .. ':' and last or derived
    redis.call('HSET', KEYS[1], derived, group)
  end
  redis.call('HSET', KEYS[1], account, group)
  reply[#reply + 1] = group
end
return reply
