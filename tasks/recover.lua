#!lua flags=allow-oom
-- Take back what dead workers held, and what stands in no index.
--
-- KEYS  1 workers  2 maintenance
-- ARGV  1 key prefix  2 lease (ms)  3 how many at most  then the accounts
-- reply { events taken back, orphans found, more to do (0 or 1) }
-- cost  O(events taken back + accounts + workers); a sweep looks at some hundred records a call
local prefix, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function key(kind, account)
  return prefix .. 'otpreport:' .. kind .. ':' .. account
end

-- After a gap in the heartbeat (Redis frozen, restarted; no worker alive) the living could not renew:
-- nobody's lease is ended for one lease period.
local state = redis.call('HMGET', KEYS[2], 'heartbeat_ms', 'grace_until_ms', 'unbalanced_since_ms')
local heartbeat, grace = tonumber(state[1] or 0), tonumber(state[2] or 0)
if now - heartbeat > lease / 3 or heartbeat > now then
  grace = now + lease
  redis.call('HSET', KEYS[2], 'grace_until_ms', grace)
end
redis.call('HSET', KEYS[2], 'heartbeat_ms', now)
if now < grace then return { 0, 0, 0 } end

-- A second death makes an event a suspect, leased alone; only a death alone speaks against the event itself.
local function take_back(tag)
  local account = string.match(tag, '^[^:]+')
  local record = redis.call('HGET', key('taken', account), tag)
  if not record then return end
  local deaths, solitary, rest = string.match(record, '^(%d+) (%d+) (.*)$')
  if tonumber(deaths) >= 2 then solitary = solitary + 1 end
  deaths = deaths + 1
  redis.call('HSET', key('taken', account), tag, string.format('%d %d ', deaths, solitary) .. rest)
  redis.call('ZADD', key(deaths >= 2 and 'suspects' or 'scheduled', account), now, tag)
end

local taken_back = 0
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, 16)) do
  local held = prefix .. 'otpreport:held:' .. worker
  for _, tag in ipairs(redis.call('SPOP', held, most - taken_back)) do
    take_back(tag)
    taken_back = taken_back + 1
  end
  if redis.call('EXISTS', held) == 0 then redis.call('ZREM', KEYS[1], worker) end
  if taken_back >= most then return { taken_back, 0, 1 } end
end

-- Every taken record stands in exactly one index. Where the sums differ for a whole lease period (an index key was
-- lost), look through the records and schedule those that stand nowhere.
local workers = redis.call('ZRANGE', KEYS[1], 0, -1)
local records, indexed = 0, 0
for i = 4, #ARGV do
  records = records + redis.call('HLEN', key('taken', ARGV[i]))
  indexed = indexed + redis.call('ZCARD', key('scheduled', ARGV[i])) + redis.call('ZCARD', key('suspects', ARGV[i]))
end
for _, worker in ipairs(workers) do
  indexed = indexed + redis.call('SCARD', prefix .. 'otpreport:held:' .. worker)
end
if records == indexed then
  if state[3] then redis.call('HDEL', KEYS[2], 'unbalanced_since_ms') end
  return { taken_back, 0, 0 }
end
if not state[3] then
  redis.call('HSET', KEYS[2], 'unbalanced_since_ms', now)
  return { taken_back, 0, 0 }
end
if now - tonumber(state[3]) < lease then return { taken_back, 0, 0 } end

local function stands_nowhere(account, tag)
  if redis.call('ZSCORE', key('scheduled', account), tag) then return false end
  if redis.call('ZSCORE', key('suspects', account), tag) then return false end
  for _, worker in ipairs(workers) do
    if redis.call('SISMEMBER', prefix .. 'otpreport:held:' .. worker, tag) == 1 then return false end
  end
  return true
end

local orphans, more = 0, 0
for i = 4, #ARGV do
  local field = 'sweep:' .. ARGV[i]
  local cursor = redis.call('HGET', KEYS[2], field) or '0'
  local page = redis.call('HSCAN', key('taken', ARGV[i]), cursor, 'COUNT', 200)
  for j = 1, #page[2], 2 do
    if stands_nowhere(ARGV[i], page[2][j]) then
      redis.call('ZADD', key('scheduled', ARGV[i]), now, page[2][j])
      orphans = orphans + 1
    end
  end
  redis.call('HSET', KEYS[2], field, page[1])
  if page[1] ~= '0' then more = 1 end
end
if more == 0 then redis.call('HDEL', KEYS[2], 'unbalanced_since_ms') end
return { taken_back, orphans, more }
