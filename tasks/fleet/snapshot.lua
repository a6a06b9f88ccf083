#!lua flags=no-writes
-- Read where every event of every account is, all at one moment, so that the books can be balanced exactly.
--
-- No KEYS: of a key that is named Redis asks for the right to write it, and who looks on needs none.
-- ARGV  1 key prefix  2 longest message that is read (bytes)  then for each configured account: name, rate group
-- reply { now (us), living workers, books (field, count, ...), dead-reasons (field, count, ...), keys that can't be used,
--         account, ... }
--       with for each account, also the first hundred that only the books know:
--       { name, ready, { oldest message of each list }, scheduled, suspects, records, dead, first of `aged` (ms) or '',
--         state, code, message, by, since (ms), resumed (ms), ramp rate (1/s), refused in a row, who lets it go on,
--         lowered rate (1/s), top (1/s), lowered at (us), override (1/s), throttled since (ms), the override that these are of:
--         since (ms), by, why; bytes of its dead letters, how many they may be,
--         how many letters may be, how old (ms), letters that get too old before long,
--         requests that may be open in a group with MAX_IN_FLIGHT, from when on (us) it gives permits, that limit,
--         { whether its OTPs are tracked (0, 1), open OTPs, notices that wait, the oldest of them, counts (field, count, ...), those of
--         the last full hour, those of the same hour a day before } or {} }, '' for what is not set;
--       what is too long is cut, or left out where it is a name or a count
-- cost  O(accounts), times the deployments that have a living worker, at most ten
local longest = tonumber(ARGV[2])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local workers = prefix .. 'otpreport:workers'
local living = got(workers, redis.pcall('ZCOUNT', workers, '(' .. string.format('%.0f', now_us / 1000), '+inf'), 0)

local function counts(kind)
  local name = prefix .. 'otpreport:' .. kind
  return got(name, redis.pcall('HGETALL', name), {})
end

local books, reasons = counts('books'), counts('dead-reasons')
sound(prefix .. 'otpreport:claims', 'hash')
sound(prefix .. 'otpreport:maintenance', 'hash')
got(prefix .. 'otpreport:audit', redis.pcall('XLEN', prefix .. 'otpreport:audit'))
local reply = { string.format('%.0f', now_us), living, {}, {}, faults }
local most_strangers, longest_text = 100, 1000

local function waiting(account)
  local length, oldest = 0, {}
  for _, step in ipairs(PRIORITY_SUFFIXES) do
    local list = prefix .. 'otpreport.' .. account .. step
    length = length + got(list, redis.pcall('LLEN', list), 0)
    local raw = got(list, redis.pcall('LINDEX', list, -1), false)
    if raw and #raw <= longest then
      oldest[#oldest + 1] = raw
    elseif raw then
      raw = nil
      collectgarbage('collect') -- or a look after the other at one that is huge would fill Redis
    end
  end
  return length, oldest
end

local function members(kind, account)
  local name = key(kind, account)
  return got(name, redis.pcall('ZCARD', name), 0)
end

local function size(kind, account)
  local name = key(kind, account)
  return got(name, redis.pcall('HLEN', name), 0)
end

local function fields(name, ...)
  return got(name, redis.pcall('HMGET', name, ...), {})
end

-- Returns the counts in a hash; what is too long for a field is left out, and what is no count is noted, too.
local function numbers(name)
  local fields, found = got(name, redis.pcall('HGETALL', name), {}), {}
  for i = 1, #fields, 2 do
    local field, count = fields[i], fields[i + 1]
    if #field <= 16 and field ~= 'marks' then
      if #count <= 16 and string.find(count, '^%-?%d+$') then
        found[#found + 1] = field
        found[#found + 1] = count
      else
        note(name .. ' ' .. field, 'ERR it is no number')
      end
    end
  end
  return found
end

local HOUR = math.floor(tonumber(time[1]) / 3600)

local function otps(account)
  local name, list = key('otps', account), prefix .. 'otpreport.' .. account .. NOTICES
  local tracked, length = size('otps', account), got(list, redis.pcall('LLEN', list), 0)
  if tracked == 0 and length == 0 then return {} end
  members('early', account)
  local oldest = got(list, redis.pcall('LINDEX', list, -1), false) or ''
  return {
    tracked > 0 and 1 or 0, members('open', account), length, string.sub(oldest, 1, LONGEST_NAME), numbers(name),
    numbers(name .. ':' .. HOUR - 1), numbers(name .. ':' .. HOUR - 25),
  }
end

local limits = {} -- of requests in flight: the least that living workers announce for a group holds (worker/groups.py)
local announced = prefix .. 'otpreport:deployments'
local now_ms = math.floor(now_us / 1000)
local digests = got(announced, redis.pcall('ZRANGEBYSCORE', announced, now_ms - ALIVE_MS, now_ms + ALIVE_MS, 'LIMIT', 0, MOST_DEPLOYMENTS), {})
for _, digest in ipairs(digests) do
  local deployment = key('deployment', digest)
  for i = 3, #ARGV, 2 do
    local account, group = ARGV[i], ARGV[i + 1]
    local said = got(deployment, redis.pcall('HGET', deployment, account), false) or ''
    local limit = tonumber(string.match(said, '"max_in_flight":"(%d+)"') or nil)
    if limit then limits[group] = math.min(limit, limits[group] or limit) end
  end
end

local function in_flight(group)
  local name = group and prefix .. 'otpreport:permits:' .. group
  local entries = name and got(name, redis.pcall('HGETALL', name), {}) or {}
  if #entries == 0 then return '', '' end
  local open, from = 0, ''
  for i = 1, #entries, 2 do
    local count, ends = string.match(entries[i + 1], '^(%d+) %d+ %d+ (%d+) ')
    if count and tonumber(ends) > now_us then open = open + tonumber(count) end
    if entries[i] == '@from' then from = string.sub(entries[i + 1], 1, longest_text) end
  end
  return string.format('%d', open), from
end

local function look(account, group)
  local length, oldest = waiting(account)
  local aged = got(key('aged', account), redis.pcall('ZRANGE', key('aged', account), 0, 0, 'WITHSCORES'), {})
  local row = {
    account, length, oldest, members('scheduled', account), members('suspects', account), size('taken', account),
    size('dead', account), aged[2] or '',
  }
  -- what is not shown, and would be told by nobody while the account does not need it
  for _, kind in ipairs({ 'replays', 'dead-index', 'reached', 'unsent' }) do members(kind, account) end
  for _, kind in ipairs({ 'replay', 'breaker', 'last-error' }) do size(kind, account) end
  local state = fields(key('account', account), 'state', 'code', 'message', 'by',
    'since_ms', 'resumed_ms', 'ramp_rate', 'permanent_run', 'keep_going')
  local rate = group and fields(key('rate', group), 'rate', 'top', 'lowered_us', 'override',
    'throttled_ms', 'override_for', 'override_ms', 'override_by', 'override_why') or {}
  for i = 1, 9 do row[#row + 1] = string.sub(state[i] or '', 1, longest_text) end
  for i = 1, 9 do row[#row + 1] = string.sub(rate[i] or '', 1, longest_text) end
  local kept = fields(key('dead-keep', account), 'bytes', 'part', 'most', 'age_ms')
  for i = 1, 4 do row[#row + 1] = string.sub(kept[i] or '', 1, longest_text) end
  local longest = tonumber(kept[4])
  local soon = longest and now_us / 1000 - longest + math.min(SOON_MS, longest / 10)
  local index = key('dead-index', account)
  row[#row + 1] = soon and tostring(got(index, redis.pcall('ZCOUNT', index, '-inf', string.format('%.0f', soon)), 0)) or ''
  local open, from = in_flight(group)
  row[#row + 1] = open
  row[#row + 1] = from
  row[#row + 1] = limits[group] and string.format('%d', limits[group]) or ''
  row[#row + 1] = otps(account)
  reply[#reply + 1] = row
end

local seen = {}
for i = 3, #ARGV, 2 do
  seen[ARGV[i]] = true
  look(ARGV[i], ARGV[i + 1])
end
local strangers = 0
for at, fields in ipairs({ books, reasons }) do
  local known = reply[at + 2]
  for i = 1, #fields, 2 do
    local account, word = string.match(fields[i], '^([^:]+):(.*)$')
    if account and not seen[account] and #account <= LONGEST_NAME and strangers < most_strangers then
      strangers, seen[account] = strangers + 1, true
      look(account)
    end
    if account and seen[account] and #word <= LONGEST_NAME and #fields[i + 1] <= 18
      and string.find(fields[i + 1], '^%-?%d+$') then
      known[#known + 1] = fields[i]
      known[#known + 1] = fields[i + 1]
    end
  end
end
return reply
