#!lua flags=allow-oom
-- Name the rate group of each account so that a new key id makes no second limiter beside the first.
--
-- KEYS  1 groups, a HASH: the group that follows from a key id to the one in force, and "@<account>" to its group
-- ARGV  for each account: name, provider, the group that follows from its key id, the group that the worker uses ('' at its start)
-- reply the group in force of each
-- cost  O(accounts); it adds two fields for each account, and one for each new key id
--
-- Who has the key already shares its limiter; else the account keeps the group that it had under its last key. Where Redis has
-- forgotten all of that, the first worker to come back enters what it uses, and the others follow.
local reply = {}
for i = 1, #ARGV, 4 do
  local account, provider, derived, used = '@' .. ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local group = need(KEYS[1], redis.pcall('HGET', KEYS[1], derived))
  if not group then
    local last = redis.call('HGET', KEYS[1], account)
    group = last and string.sub(last, 1, #provider + 1) == provider .. ':' and last or (used ~= '' and used or derived)
    redis.call('HSET', KEYS[1], derived, group)
  end
  if used ~= '' and redis.call('HEXISTS', KEYS[1], used) == 0 then redis.call('HSET', KEYS[1], used, group) end
  redis.call('HSET', KEYS[1], account, group)
  reply[#reply + 1] = group
end
return reply
