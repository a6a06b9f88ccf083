#!lua flags=allow-oom
-- Remove dead letters that are too old, too many, or too much for their account's part of Redis' memory, the oldest
-- first, and book them as purged. Those that wait to be sent again stay. A key that can't be used keeps its own
-- account's letters, or all where it is everybody's.
--
-- KEYS  1 maintenance  2 dead-reasons  3 books
-- ARGV  1 key prefix  2 how old they may get (ms)  3 how many an account may have
--       4 bytes that those of all accounts may take together, each account an equal part; 0: no such bound
--       5 how many are looked at in this call, at most
--       6 "1": more was to do after the last call  7 least ms between two other calls, whoever asks
--       then the configured accounts
-- reply { more to do (0 or 1), keys that can't be used, account, removed for their age, their number, their memory, ... }
-- cost  O(accounts + letters looked at); for each account some letters are measured
local longest, most, all_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local left, goes_on, pause = tonumber(ARGV[5]), ARGV[6] == '1', tonumber(ARGV[7])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local reply = { 0, faults }

-- Every worker looks at these, so that each knows when they can be used again.
local usable = {}
local function is_sound(account)
  if usable[account] == nil then
    usable[account] = true
    for kind, of in pairs({ dead = 'hash', ['dead-index'] = 'zset', replays = 'zset', ['dead-keep'] = 'hash' }) do
      if not sound(key(kind, account), of) then usable[account] = false end
    end
    if not countable(KEYS[3], account .. ':purged') then usable[account] = false end
  end
  return usable[account]
end
if not (sound(KEYS[1], 'hash') and sound(KEYS[2], 'hash') and sound(KEYS[3], 'hash')) then return reply end
for i = 8, #ARGV do is_sound(ARGV[i]) end

local since = now - (tonumber(redis.call('HGET', KEYS[1], 'dead_kept_ms')) or 0)
if not goes_on and since >= 0 and since < pause then return reply end
redis.call('HSET', KEYS[1], 'dead_kept_ms', now)
math.randomseed(tonumber(time[2])) -- or each call would draw the same

-- Also those that are configured no longer.
local accounts, seen = {}, {}
local function add(account)
  if account and not seen[account] then
    seen[account] = true
    accounts[#accounts + 1] = account
  end
end
for i = 8, #ARGV do add(ARGV[i]) end
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do add(string.match(field, '^[^:]+')) end
local part = all_bytes > 0 and math.floor(all_bytes / #accounts) or 0

-- What a letter takes beside its text and its two ids: entries of a HASH and a ZSET, and what the allocator rounds up.
local MEASURED, OVERHEAD, NEWS = 32, 200, 0.2

-- Returns how many bytes a letter takes, about: the mean of some that are drawn by lot, evened out over the calls.
local function letter_bytes(account, count, before)
  local sum, found = 0, 0
  for i = 1, math.min(MEASURED, count) do
    local rank = count <= MEASURED and i - 1 or math.random(count) - 1
    local id = redis.call('ZRANGE', key('dead-index', account), rank, rank)[1]
    local letter = redis.call('HGET', key('dead', account), id)
    if letter then sum, found = sum + #letter + 2 * #id + OVERHEAD, found + 1 end
  end
  local mean = found > 0 and sum / found or OVERHEAD
  return before and before + NEWS * (mean - before) or mean
end

-- Returns whether it is gone: a letter that can't be booked stays.
local function remove(account, id)
  local letter = redis.call('HGET', key('dead', account), id)
  if letter then
    local field = account .. ':' .. (string.match(letter, '^{[^\n]-"reason":"(%a+)"') or 'unreadable')
    if not countable(KEYS[2], field) then return false end
    redis.call('HINCRBY', KEYS[3], account .. ':purged', 1)
    if redis.call('HINCRBY', KEYS[2], field, -1) <= 0 then redis.call('HDEL', KEYS[2], field) end
  end
  redis.call('HDEL', key('dead', account), id)
  redis.call('ZREM', key('dead-index', account), id)
  redis.call('ZREM', key('replays', account), id)
  return true
end

-- Returns how many were removed for their age, number and memory, and where to go on: nil when all is done.
local function shorten(account, from, too_many, too_big)
  local index, removed, waiting = key('dead-index', account), { 0, 0, 0 }, 0
  local page = redis.call('ZRANGE', index, from, from + left - 1, 'WITHSCORES')
  for i = 1, #page, 2 do
    local id, died = page[i], tonumber(page[i + 1])
    local gone = removed[1] + removed[2] + removed[3]
    local bound = died < now - longest and 1 or gone < too_many and 2 or gone < too_big and 3
    if not bound then return removed end
    left = left - 1
    if tonumber(redis.call('ZSCORE', key('replays', account), id) or -1) == died then
      waiting = waiting + 1
    elseif remove(account, id) then
      removed[bound] = removed[bound] + 1
    else
      return removed
    end
  end
  return removed, left <= 0 and from + waiting or nil
end

local function keep(account)
  local index, hash = key('dead-index', account), key('dead-keep', account)
  local count = redis.call('ZCARD', index)
  if count == 0 then return redis.call('DEL', hash) end
  local known = redis.call('HMGET', hash, 'mean', 'from')
  local before = tonumber(known[1])
  local mean = letter_bytes(account, count, before and before > 0 and before)
  local too_big = part > 0 and math.ceil(count - part / mean) or 0
  local going_on = math.min(count, math.max(0, math.floor(tonumber(known[2]) or 0)))
  local removed, from = shorten(account, going_on, count - most, too_big)
  local kept = redis.call('ZCARD', index)
  redis.call('HSET', hash, 'mean', string.format('%.1f', mean), 'from', from or 0, 'bytes', math.ceil(mean * kept),
    'part', part, 'most', most, 'age_ms', longest)
  redis.call('EXPIRE', hash, 86400)
  if from then reply[1] = 1 end
  if removed[1] + removed[2] + removed[3] == 0 then return end
  reply[#reply + 1] = account
  for _, number in ipairs(removed) do reply[#reply + 1] = number end
end

for _, account in ipairs(accounts) do
  if left <= 0 then
    reply[1] = 1
    break
  end
  if is_sound(account) then keep(account) end
end
return reply
