#!lua flags=allow-oom
-- Note what was told of OTPs, and close those whose time is over: what it takes and what it writes is one atomic step, so any
-- number of workers may call it, and a worker that dies loses nothing. In a full Redis a notice turns into an entry of about
-- its size; what is closed takes less; the reports that it adds are bounded (`room`), as is what waits unmatched (EARLY).
--
-- No KEYS: which it needs depends on what it finds.
-- ARGV  1 key prefix  2 notices at most  3 closings at most  4 generation width of the remembered OTPs (s)
--       5 grace after an OTP's end (s)  6 after a time in which nobody looked nothing closes for so long (s), nor after an old
--       notice that comes meanwhile: spools are on their way
--       7 how long that time has to be (s)  8 how long a verified OTP waits for its `sent` (s)
--       then for each account: name, reports of OTPs not verified that may wait at once (-1: none is to be sent), seconds after
--       the sending within which the provider takes one (0: no such bound)
-- reply { notices noted, OTPs closed, 1 if there is more to do at once, keys that can't be used }
-- cost  O(notices + closings, and 100 that are given up), 10-20 us an OTP in all; an account with nothing to do takes four
--       commands that read
--
-- HASH otps: the counts (tasks/keys.py), and for this script alone: `back`, since when somebody looks again; `dispatched` 1 once
-- an OTP was sent; `marks`
-- '<ms>:<notices> ...': at which time so many were waiting, less those that were noted since. An OTP is closed when what was
-- waiting at the end of its time is noted, whatever came later.
-- ZSET open: score = ((due (s) - EPOCH) * 8192 + expires_in) * 2048 + country * 2 + verified, 53 bits, so that due sorts.
-- expires_in is 0 where the notice came after the OTP's time was over: then nobody knows how long it took.
-- ZSET early: score = (given up (s) - EPOCH) * 2^20 + seconds since it was verified, moved into the positive.
local most_notices, most_closings, width = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local grace, pause_ms, gap_ms = tonumber(ARGV[5]), tonumber(ARGV[6]) * 1000, tonumber(ARGV[7]) * 1000
local patience = tonumber(ARGV[8])
local time = redis.call('TIME')
local now = tonumber(time[1])
local now_ms = now * 1000 + math.floor(tonumber(time[2]) / 1000)
local EARLY = 100000 -- verified OTPs of an account that wait for their `sent`, at most: 9 MB
local LOOKED = 2000 -- ms after which it is written down again that somebody looked
local LATE, SPOOLS = 60000, 1800000 -- ms: a notice so old comes from a spool; how long these are waited for, at most
local MARK, MARKS = 5000, 12 -- ms between two marks, and how many there are at most
local HOURS = 50 * 3600
local SKEW = 3600 -- s by which an app's clock may be ahead so that each repeat is known
local BUDGET = 262144 -- of notices in one call
local most_gone = 100 -- given up in one call, at most: as many as one may note, or EARLY would not hold
local LONGEST_ID, LONGEST_LIFE = 1024, 5110
local noted, closed, more = 0, 0, 0

local places, names = {}, {} -- found once in a call

local function place_of(country)
  if not places[country] then
    local known = string.find(COUNTRIES, country, 1, true) and country or 'ZZ'
    places[country] = (string.byte(known, 1) - 65) * 26 + string.byte(known, 2) - 65
  end
  return places[country]
end

local function country_of(score)
  local i = math.floor(score % FLAGS / 2)
  if not names[i] then names[i] = string.char(65 + math.floor(i / 26), 65 + i % 26) end
  return names[i]
end

-- What is remembered of OTPs that are not open: 69 bits of a hash, 17 choose the set (remembered.lua), 52 are the member, which
-- says that it was closed. Another member says that nobody had verified it, a third that it was verified and never told of.
local function unverified_as(number) return string.format('%d', -1 - number) end
local function unmatched_as(number) return string.format('%d', -1 - number - 4503599627370496) end

-- Returns 32 hexadecimal digits of an OTP, its set, and its number.
local function fingerprint(account, id)
  local digest = redis.sha1hex(account .. '\0' .. id)
  local half = string.byte(digest, 21) < 56 and '0' or '1' -- by a bit of a digit
  return digest, string.sub(digest, 17, 20) .. half, string.format('%d', tonumber(string.sub(digest, 1, 13), 16))
end

-- It fails where the key of the widths can't be used: so it comes before what could not be taken back.
local heads, write, generation
local function open_memory()
  if heads then return end
  local seconds = now + tonumber(time[2]) / 1000000
  local widths, by = widths_in_use(prefix, width, seconds)
  write = memory(prefix, widths, seconds, 'closed')
  heads = {}
  generation = math.floor(seconds / by) * by
  for age = 0, GENERATIONS - 1 do heads[age + 1] = done_key(prefix, by, age, '', seconds, 'closed') end
end

local function is_member(set, number)
  local found = redis.pcall('SISMEMBER', set, number)
  return found == 1 or (found ~= 0 and failed(set, found) and false)
end

-- Returns the set in which an OTP is remembered, and its number; nil where it is in none. One that was sent in this generation
-- was not closed in one before, unless its app's clock is that far ahead (SKEW): most are looked for in one set.
local function recall(account, id, sent)
  local _, bucket, number = fingerprint(account, id)
  for i = 1, sent and sent > generation + SKEW and 1 or #heads do
    local set = heads[i] .. bucket
    if is_member(set, number) then return set, number end
  end
end

-- Returns functions that count and that write down what was counted.
local function counter(name)
  local counts = {}
  local function add(field, by) counts[field] = (counts[field] or 0) + (by or 1) end
  local function write_down()
    for field, by in pairs(counts) do
      if by ~= 0 then failed(name .. ' ' .. field, redis.pcall('HINCRBY', name, field, string.format('%.0f', by))) end
    end
  end
  return add, write_down
end

-- Count how long it took from `sent` (s) to `verified` (ms).
local function took(add, sent, verified_ms)
  local ms = math.max(0, verified_ms - sent * 1000)
  local bound = 'inf'
  for _, le in ipairs(LATENCIES) do
    if ms <= le * 1000 then
      bound = le
      break
    end
  end
  add('le:' .. bound)
  add('latency', math.min(ms, 86400000))
end

-- One account in this call.
local function account_of(name)
  local self = {
    name = name, list = prefix .. 'otpreport.' .. name .. '.otps', queue = prefix .. 'otpreport.' .. name,
    hash = key('otps', name), open = key('open', name), early = key('early', name), changes = {},
  }
  self.low = self.queue .. PRIORITY_SUFFIXES[#PRIORITY_SUFFIXES]
  return self
end

local function note_sent(self, at_ms, ttl, country, id)
  local sent = math.min(math.floor(at_ms / 1000), now)
  local known, number = recall(self.name, id, sent)
  if known and not is_member(known, unmatched_as(number)) then return end -- a repeat
  if sent + ttl < now then sent, ttl = now, 0 end
  local verified, told = known and 1 or 0, nil
  if self.waiting > 0 then
    told = redis.call('ZSCORE', self.early, id)
    if told then verified = 1 end
  end
  local score = ((sent + ttl + grace - EPOCH) * LIVES + ttl) * FLAGS + place_of(country) * 2 + verified
  if redis.call('ZADD', self.open, 'NX', string.format('%d', score), id) == 0 then return end
  if told then
    redis.call('ZREM', self.early, id)
    self.waiting = self.waiting - 1
  end
  if known then redis.call('SREM', known, number, unmatched_as(number)) end
  self.dispatched = true
  country = country_of(score)
  self.add(country .. ':sent')
  if verified == 0 then return end
  self.add(country .. ':verified')
  if told and ttl > 0 then
    local given_up = math.floor(told / SHIFT) + EPOCH
    took(self.add, sent, (given_up - patience - (told % SHIFT - HALF)) * 1000)
  end
end

local function note_verified(self, at_ms, id)
  local score = tonumber(redis.call('ZSCORE', self.open, id) or nil)
  if score and score % 2 == 0 then
    redis.call('ZADD', self.open, 'XX', string.format('%d', score + 1), id)
    self.add(country_of(score) .. ':verified')
    local rest = math.floor(score / FLAGS)
    local ttl = rest % LIVES
    if ttl > 0 then took(self.add, math.floor(rest / LIVES) + EPOCH - grace - ttl, at_ms) end
  elseif not score then
    local known, number = recall(self.name, id)
    if not known then
      local ago = math.max(0, math.min(SHIFT - 1, now - math.floor(at_ms / 1000) + HALF))
      local given_up = (now + patience - EPOCH) * SHIFT + ago
      self.waiting = self.waiting + redis.call('ZADD', self.early, 'NX', given_up, id)
    elseif redis.call('SREM', known, unverified_as(number)) == 1 then
      self.add('late')
    end
  end
end

-- What is no notice goes where messages are read, and is buried there.
local function note_one(self, raw)
  local at, ttl, country, id = string.match(raw, '^sent (%d+) (%d+) (%u%u) (.+)$')
  if not at then
    at, id = string.match(raw, '^verified (%d+) (.+)$')
  end
  local seconds = tonumber(ttl)
  if at and tonumber(at) < now_ms - LATE then self.from_spool = true end
  if not at or #at > 15 or #id > LONGEST_ID or (seconds and (seconds < 30 or seconds > LONGEST_LIFE)) then
    redis.call('LPUSH', self.queue, raw)
  elseif seconds then
    note_sent(self, tonumber(at), seconds, country, id)
  else
    note_verified(self, tonumber(at), id)
  end
end

local function note_all(self)
  local bytes, here = BUDGET, 0
  while here < self.length and most_notices > 0 and bytes > 0 do
    local raw = redis.call('RPOP', self.list) -- one at a time: none knows how long they are
    here, most_notices, bytes = here + 1, most_notices - 1, bytes - #raw
    note_one(self, raw)
    if bytes <= 0 then
      raw = nil
      collectgarbage('collect')
    end
  end
  self.length, self.here = self.length - here, here
  noted = noted + here
end

-- Returns until when (ms) everything that was told is noted.
local function noted_until(self, stored, marks)
  if self.length == 0 then
    if marks then redis.call('HDEL', self.hash, 'marks') end
    return now_ms
  end
  local kept, last, upto = {}, 0, tonumber(stored) or 0
  for at, left in string.gmatch(marks or '', '(%d+):(%d+)') do
    at, left = tonumber(at), tonumber(left) - self.here
    if left <= 0 then
      upto = math.max(upto, at)
    else
      kept[#kept + 1] = string.format('%.0f:%.0f', at, left)
    end
    last = at
  end
  if now_ms - last >= MARK or last > now_ms then
    if #kept >= MARKS then
      for i = #kept - 1, 1, -2 do table.remove(kept, i) end
    end
    kept[#kept + 1] = string.format('%.0f:%.0f', now_ms, self.length)
  end
  self.changes.marks = table.concat(kept, ' ')
  self.changes.noted = math.min(upto, now_ms)
  return self.changes.noted
end

-- Give up those that were verified and of which nobody said in time that they were sent.
local function give_up(self, upto)
  if self.waiting == 0 or most_gone == 0 then return end
  local limit = string.format('(%.0f', (math.floor(upto / 1000) - EPOCH) * SHIFT)
  local gone = redis.call('ZRANGEBYSCORE', self.early, '-inf', limit, 'LIMIT', 0, most_gone)
  if #gone == 0 and self.waiting > EARLY then
    gone = redis.call('ZRANGE', self.early, 0, math.min(most_gone, self.waiting - EARLY) - 1)
  end
  if #gone == 0 then return end
  if self.dispatched then open_memory() end
  redis.call('ZREM', self.early, unpack(gone))
  self.add('unmatched', #gone)
  most_gone = most_gone - #gone
  if most_gone == 0 then more = 1 end
  if not self.dispatched then return end -- of an account without `sent` nobody ever will say it
  for _, id in ipairs(gone) do
    local _, bucket, number = fingerprint(self.name, id)
    write(number, bucket)
    write(unmatched_as(number), bucket)
  end
end

-- Redis' clock was set back: what was noted before ends no later than if it were sent now. How long it took nobody knows.
local function bring_back(self)
  local limit = string.format('%.0f', (now + LONGEST_LIFE + grace + 1 - EPOCH) * LIVES * FLAGS)
  local ahead = redis.call('ZRANGEBYSCORE', self.open, limit, '+inf', 'WITHSCORES', 'LIMIT', 0, most_closings)
  for i = 1, #ahead, 2 do
    local score = tonumber(ahead[i + 1])
    local due = now + math.floor(score / FLAGS) % LIVES + grace
    redis.call('ZADD', self.open, 'XX', string.format('%d', (due - EPOCH) * LIVES * FLAGS + score % FLAGS), ahead[i])
    more = 1
  end
end

-- The report of an OTP not verified, as otpreport/wire.py writes it: JSON in JSON, so the id is quoted twice.
local function negative(account, digest, id, ended, sent)
  local task, twice = string.sub(digest, 1, 32), cjson.encode(cjson.encode(id))
  return '{"body":"[[],{\\"event\\":{\\"account\\":\\"' .. account .. '\\",\\"message_id\\":' .. string.sub(twice, 2, -2)
    .. ',\\"occurred_at\\":' .. ended .. '000,\\"verified\\":false' .. (sent and ',\\"sent_at\\":' .. sent .. '000' or '')
    .. '}},{\\"callbacks\\":null,\\"errbacks\\":null,\\"chain\\":null,\\"chord\\":null}]","content-encoding":"utf-8",'
    .. '"content-type":"application/json","headers":{"lang":"py","task":"otpreport.report","id":"' .. task
    .. '","root_id":"' .. task .. '","parent_id":null,"group":null,"retries":0,"timelimit":[null,null],"eta":null,'
    .. '"expires":null,"argsrepr":"()","kwargsrepr":"{}",' .. AUTOMATIC .. '},"properties":{"correlation_id":"' .. task
    .. '","reply_to":"","delivery_mode":2,"delivery_info":{"exchange":"","routing_key":"otpreport.' .. account
    .. '"},"priority":9,"delivery_tag":"' .. task .. '"}}'
end

-- Close what ended before `upto` (ms), and say so of what was not verified.
local function close(self, upto, most_waiting, deadline)
  local limit = string.format('(%.0f', (math.floor(upto / 1000) - EPOCH) * LIVES * FLAGS)
  local due = redis.call('ZRANGEBYSCORE', self.open, '-inf', limit, 'WITHSCORES', 'LIMIT', 0, most_closings)
  if #due == 0 then return end
  if not redis.acl_check_cmd('ZREMRANGEBYRANK', self.open, 0, 0) then
    note(self.open, 'NOPERM this user may not ZREMRANGEBYRANK')
    return
  end
  open_memory()
  local room = 0
  if most_waiting > 0 then
    local waiting = redis.pcall('LLEN', self.low)
    if failed(self.low, waiting) then return end
    room = most_waiting - waiting
  end
  local negatives, ids, hours = {}, {}, {}
  for i = 1, #due, 2 do
    local id, score = due[i], tonumber(due[i + 1])
    local country, verified = country_of(score), score % 2 == 1
    local digest, bucket, number = fingerprint(self.name, id)
    write(number, bucket)
    if not verified then write(unverified_as(number), bucket) end
    ids[#ids + 1] = id
    local field = country .. (verified and ':yes' or ':no')
    self.add(field)
    hours[field] = (hours[field] or 0) + 1
    if not verified then
      local rest = math.floor(score / FLAGS)
      local ended, ttl = math.floor(rest / LIVES) + EPOCH - grace, rest % LIVES
      local sent = ttl > 0 and ended - ttl
      if most_waiting < 0 or (deadline > 0 and not (sent and now - sent <= deadline)) then
        self.add('unsaid')
      elseif #negatives >= room then
        self.add('withheld')
      else
        self.add('queued')
        negatives[#negatives + 1] = negative(self.name, digest, id, ended, sent)
      end
    end
  end
  redis.call('ZREMRANGEBYRANK', self.open, 0, #ids - 1)
  if negatives[1] then redis.call('LPUSH', self.low, unpack(negatives)) end
  local hour = self.hash .. ':' .. string.format('%.0f', math.floor(now / 3600))
  if sound(hour, 'hash') then
    for word, by in pairs(hours) do failed(hour .. ' ' .. word, redis.pcall('HINCRBY', hour, word, by)) end
    redis.call('EXPIRE', hour, HOURS)
  end
  closed, most_closings = closed + #ids, most_closings - #ids
  if most_closings == 0 then more = 1 end
end

-- Nothing is popped that could not be put down.
local function usable(self)
  local length = redis.pcall('LLEN', self.list)
  if failed(self.list, length) or not sound(self.hash, 'hash') or not sound(self.open, 'zset') then return false end
  self.waiting = redis.pcall('ZCARD', self.early)
  if failed(self.early, self.waiting) then return false end
  self.length = length
  if length > 0 then
    if failed(self.queue, redis.pcall('LLEN', self.queue)) then return false end
    if not redis.acl_check_cmd('LPUSH', self.queue) then
      note(self.queue, 'NOPERM this user may not LPUSH')
      return false
    end
  end
  return true
end

local function track(name, most_waiting, deadline)
  local self = account_of(name)
  if not usable(self) then return end
  local looked, watched, stored, marks, dispatched, back = unpack(redis.call('HMGET', self.hash,
    'looked', 'watched', 'noted', 'marks', 'dispatched', 'back'))
  if not looked and self.length == 0 then return end
  looked, watched, self.dispatched = tonumber(looked), tonumber(watched) or 0, dispatched and true
  local since = looked and now_ms - looked or gap_ms + 1
  if since > gap_ms or since < 0 then
    back, watched = now_ms, now_ms + pause_ms
    self.changes.back, self.changes.watched = back, watched
  end
  local write_down
  self.add, write_down = counter(self.hash)
  if self.length > 0 then open_memory() end
  note_all(self)
  if self.from_spool and now_ms < watched and now_ms < tonumber(back or 0) + SPOOLS then
    watched = now_ms + pause_ms
    self.changes.watched = watched
  end
  local upto = noted_until(self, stored, marks)
  local is_watched = now_ms >= watched
  give_up(self, is_watched and upto or 0)
  if is_watched then close(self, upto, most_waiting, deadline) else bring_back(self) end
  if since >= LOOKED or since < 0 then self.changes.looked, self.changes.noted = now_ms, upto end
  if self.dispatched and not dispatched then self.changes.dispatched = 1 end
  write_down()
  local fields = {}
  for field, value in pairs(self.changes) do
    fields[#fields + 1] = field
    fields[#fields + 1] = type(value) == 'number' and string.format('%.0f', value) or value
  end
  if fields[1] then redis.call('HSET', self.hash, unpack(fields)) end
  if self.length > 0 then more = 1 end
end

for i = 9, #ARGV, 3 do
  track(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
end
return { noted, closed, more, faults }
