#!lua flags=allow-oom
-- Take back what dead workers held, and what stands in no index.
--
-- KEYS  1 workers  2 maintenance
-- ARGV  1 key prefix  2 lease (ms)  3 how many at most  4 how long a retry waits at most (ms)  then the accounts
-- reply { events taken back, orphans found, more to do (0 or 1), keys that can't be used,
--         { account, tag, reason, '1' if it had been sent again, ... } of what became a dead letter }
-- cost  O(events taken back + workers), ten times a lease period O(accounts + events held), too; a sweep looks at some
--       hundred records a call
local lease, most, longest = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function found(taken_back, orphans, more)
  return { taken_back, orphans, more, faults, buried }
end

if not sound(KEYS[1], 'zset') or not sound(KEYS[2], 'hash') then return found(0, 0, 0) end

-- After a gap in the heartbeat (Redis frozen, restarted; no worker alive) the living could not renew:
-- nobody's lease is ended for one lease period.
local state = redis.call('HMGET', KEYS[2], 'heartbeat_ms', 'grace_until_ms')
local heartbeat, grace = tonumber(state[1]) or 0, tonumber(state[2]) or 0
if now - heartbeat > lease / 3 or heartbeat > now then
  grace = now + lease
  redis.call('HSET', KEYS[2], 'grace_until_ms', grace)
end
redis.call('HSET', KEYS[2], 'heartbeat_ms', now)
if now < grace then return found(0, 0, 0) end

local function is_sound(account)
  return sound(key('taken', account), 'hash') and sound(key('scheduled', account), 'zset')
    and sound(key('suspects', account), 'zset')
end

local left = 4 * BUDGET -- bytes that this call may still read

-- A second death makes an event a suspect, leased alone; only a death alone speaks against the event itself.
local function take_back(tag)
  local account = string.match(tag, '^[^:]+')
  local taken, aged = key('taken', account), key('aged', account)
  local record = redis.call('HGET', taken, tag)
  if not record then return end
  left = left - #record
  local deaths, solitary, rest = string.match(record, '^(%d+) (%d+) (.*)$')
  if deaths then
    if tonumber(deaths) >= SUSPECT_DEATHS then solitary = solitary + 1 end
    deaths = deaths + 1
    record = string.format('%d %d ', deaths, solitary) .. rest
  end
  local reason = unfit(record, true)
  if reason and bury(account, tag, now, reason, record) then
    redis.call('HDEL', taken, tag)
    failed(aged, redis.pcall('ZREM', aged, tag))
    collectgarbage('collect')
    return
  end
  redis.call('HSET', taken, tag, record)
  if (deaths or 0) >= SUSPECT_DEATHS then
    redis.call('ZADD', key('suspects', account), now, tag)
  else
    redis.call('ZADD', key('scheduled', account), now + low_of(tag), tag)
  end
end

-- The living renew all the time: a lease that ends far in the future is of before Redis' clock was set back.
local MOST_ENDED = 64

local function ended_leases()
  local workers = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now, 'LIMIT', 0, MOST_ENDED)
  local far = string.format('(%.0f', now + 10 * lease)
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], far, '+inf', 'LIMIT', 0, MOST_ENDED)) do
    workers[#workers + 1] = worker
  end
  return workers
end

-- What can't be put elsewhere stays held by the dead, until the key is fixed.
local taken_back = 0
for _, worker in ipairs(ended_leases()) do
  local held = prefix .. 'otpreport:held:' .. worker
  if sound(held, 'set') then
    for _, tag in ipairs(redis.call('SMEMBERS', held)) do
      if taken_back >= most or left <= 0 then return found(taken_back, 0, 1) end
      if is_sound(string.match(tag, '^[^:]+') or tag) then
        take_back(tag)
        redis.call('SREM', held, tag)
        taken_back = taken_back + 1
      end
    end
    if redis.call('EXISTS', held) == 0 then redis.call('ZREM', KEYS[1], worker) end
  end
end

-- Every taken record stands in exactly one index. Where the sums differ for a whole lease period (an index key was
-- lost), look through the records and schedule those that stand nowhere. Workers may serve different accounts, so each
-- choice of accounts has its own state.
local accounts, served = {}, {}
for i = 5, #ARGV do
  if is_sound(ARGV[i]) then
    accounts[#accounts + 1] = ARGV[i]
    served[ARGV[i]] = true
  end
end
local scope = table.concat(accounts, ',')
local function field(name)
  return name .. ':' .. scope
end

local balance = redis.call('HMGET', KEYS[2], field('counted_ms'), field('unbalanced_since_ms'))
local counted, unbalanced = tonumber(balance[1]) or 0, tonumber(balance[2])
local sweeping = unbalanced and now - unbalanced >= lease
if not sweeping and now >= counted and now - counted < lease / 10 then return found(taken_back, 0, 0) end
redis.call('HSET', KEYS[2], field('counted_ms'), now)

-- A retry that is due later than any waits was put down before Redis' clock was set back: it is due. A time that was named may
-- lie anywhere, its score ends in .5; as there may be many of them, each call looks at a page.
local function let_stranded_go(account)
  local index, page_of = key('scheduled', account), field('far:' .. account)
  local from = math.max(now + longest, tonumber(redis.call('HGET', KEYS[2], page_of) or 0))
  local upto = string.format('(%.0f', LOW)
  local page = redis.call('ZRANGEBYSCORE', index, string.format('(%.1f', from), upto, 'WITHSCORES', 'LIMIT', 0, 200)
  for i = 1, #page, 2 do
    if tonumber(page[i + 1]) % 1 ~= 0.5 then redis.call('ZADD', index, now, page[i]) end
  end
  if #page == 400 then
    redis.call('HSET', KEYS[2], page_of, page[#page])
  elseif from > now + longest then
    redis.call('HDEL', KEYS[2], page_of)
  end
  local low = redis.call('ZRANGEBYSCORE', index, string.format('(%.0f', LOW + now + longest), '+inf', 'LIMIT', 0, 200)
  for _, tag in ipairs(low) do redis.call('ZADD', index, LOW + now, tag) end
end

for _, account in ipairs(accounts) do let_stranded_go(account) end

-- What was buried unread owns its message id still; each call looks at a page of claims for those of nobody.
local function let_claims_go()
  local claims = prefix .. 'otpreport:claims'
  if not sound(claims, 'hash') then return end
  local page = redis.call('HSCAN', claims, redis.call('HGET', KEYS[2], field('claims')) or '0', 'COUNT', 100)
  for i = 1, #page[2], 2 do
    local account = string.match(page[2][i + 1], '^[^:]+')
    if served[account] and redis.call('HEXISTS', key('taken', account), page[2][i + 1]) == 0 then
      redis.call('HDEL', claims, page[2][i])
    end
  end
  redis.call('HSET', KEYS[2], field('claims'), page[1])
end

let_claims_go()

local workers = redis.call('ZRANGE', KEYS[1], 0, -1)
local records, indexed = 0, 0
for _, account in ipairs(accounts) do
  records = records + redis.call('HLEN', key('taken', account))
  indexed = indexed + redis.call('ZCARD', key('scheduled', account)) + redis.call('ZCARD', key('suspects', account))
end
for _, worker in ipairs(workers) do
  local held = prefix .. 'otpreport:held:' .. worker
  if not sound(held, 'set') then return found(taken_back, 0, 0) end -- what it holds would look like lost
  for _, tag in ipairs(redis.call('SMEMBERS', held)) do
    if served[string.match(tag, '^[^:]+')] then indexed = indexed + 1 end
  end
end

local function end_sweep()
  redis.call('HDEL', KEYS[2], field('unbalanced_since_ms'))
  for _, account in ipairs(accounts) do
    redis.call('HDEL', KEYS[2], field('sweep:' .. account))
  end
end

if records == indexed then
  if unbalanced then end_sweep() end
  return found(taken_back, 0, 0)
end
if not unbalanced then redis.call('HSET', KEYS[2], field('unbalanced_since_ms'), now) end
if not sweeping then return found(taken_back, 0, 0) end

local function stands_nowhere(account, tag)
  if redis.call('ZSCORE', key('scheduled', account), tag) then return false end
  if redis.call('ZSCORE', key('suspects', account), tag) then return false end
  for _, worker in ipairs(workers) do
    if redis.call('SISMEMBER', prefix .. 'otpreport:held:' .. worker, tag) == 1 then return false end
  end
  return true
end

-- Look at one page of an account's records; true when it was the last.
local function sweep(account, cursor)
  local orphans, looked = 0, 0
  repeat
    local page = redis.call('HSCAN', key('taken', account), cursor, 'COUNT', 10)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      if stands_nowhere(account, page[2][i]) then
        redis.call('ZADD', key('scheduled', account), now + low_of(page[2][i]), page[2][i])
        orphans = orphans + 1
      end
      left = left - #page[2][i + 1]
    end
    looked = looked + 10
  until cursor == '0' or looked >= 200 or left <= 0
  redis.call('HSET', KEYS[2], field('sweep:' .. account), cursor == '0' and 'end' or cursor)
  return orphans, cursor == '0'
end

for _, account in ipairs(accounts) do
  local cursor = redis.call('HGET', KEYS[2], field('sweep:' .. account)) or '0'
  if cursor ~= 'end' then
    local orphans, last = sweep(account, cursor)
    if orphans > 0 or not last then return found(taken_back, orphans, 1) end
  end
end
end_sweep()
return found(taken_back, 0, 0)
