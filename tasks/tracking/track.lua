#!lua flags=allow-oom
-- Note what was told of OTPs, and close those whose time is over: what it takes and what it writes is one atomic step, so any
-- number of workers may call it, and a worker that dies loses nothing. In a full Redis a notice turns into an entry of about
-- its size; what is closed takes less; the reports that it adds are bounded (`room`), as is what waits unmatched (EARLY).
--
-- No KEYS: which it needs depends on what it finds.
-- ARGV  1 key prefix  2 notices at most  3 closings at most, fewer beside notices  4 generation width of the
--       remembered OTPs (s)
--       5 grace after an OTP's end (s)  6 after a time in which nobody looked nothing closes for so long (s), nor after an old
--       notice that comes meanwhile: spools are on their way
--       7 how long that time has to be (s)  8 how long a verified OTP waits for its `sent` (s)
--       then for each account: name, reports of OTPs not verified that may wait at once (-1: none is to be sent), seconds after
--       the sending within which the provider takes one (0: no such bound)
-- reply { notices noted, OTPs closed, 1 if there is enough to do at once, keys that can't be used }
-- cost  O(notices + closings, and 100 that are given up), 15-20 us an OTP in all; an account with nothing to do takes four
--       commands that read
--
-- HASH otps: the counts (tasks/keys.py), and for this script alone: `back`, since when somebody looks again; `dispatched` 1 once
-- an OTP was sent; `ahead`, the latest time (s) of a `sent` that was in the future (SKEW); `marks`
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
local SKEW = 3600 -- s by which an app's clock may be ahead and its repeats are known by one look
local BUDGET = 262144 -- bytes of notices in one call
local MOST_MEASURED = 4096 -- notices, at most, whose bytes are asked for: Redis looks at each block of the list
local most_gone = 100 -- given up in one call, at most: as many as one may note, or EARLY would not hold
local LONGEST_ID, LONGEST_LIFE = 1024, 5110
local full = most_notices
local noted, closed, more, left = 0, 0, 0, 0

local format, match, byte, sub, floor = string.format, string.match, string.byte, string.sub, math.floor
local places, names = {}, { [':sent'] = {}, [':verified'] = {}, [':yes'] = {}, [':no'] = {} } -- found once in a call

local function place_of(country)
  if not places[country] then
    local known = string.find(COUNTRIES, country, 1, true) and country or 'ZZ'
    places[country] = (string.byte(known, 1) - 65) * 26 + string.byte(known, 2) - 65
  end
  return places[country]
end

-- Returns the field that counts this of an OTP's country.
local function field_of(score, word)
  local i = floor(score % FLAGS / 2)
  local fields = names[word]
  if not fields[i] then fields[i] = string.char(65 + floor(i / 26), 65 + i % 26) .. word end
  return fields[i]
end

-- What is remembered of OTPs that are not open: 69 bits of a hash, 17 choose the set (remembered.lua), 52 are the member, which
-- says that it was closed. Another member says that nobody had verified it, a third that it was verified and never told of.
local function unverified_as(number) return -1 - number end
local function unmatched_as(number) return -1 - number - 4503599627370496 end

-- Returns 32 hexadecimal digits of an OTP, its set, and its number.
local function fingerprint(account, id)
  local digest = redis.sha1hex(account .. '\0' .. id)
  local half = byte(digest, 21) < 56 and '0' or '1' -- by a bit of a digit
  return digest, sub(digest, 17, 20) .. half, tonumber(sub(digest, 1, 13), 16)
end

-- It fails where the key of the widths can't be used: so it comes before what could not be taken back.
local heads, widths, write, generation
local function heads_of(by)
  local found = {}
  for age = 0, GENERATIONS - 1 do found[age + 1] = done_key(prefix, by, age, '', now, 'closed') end
  return found
end

local function open_memory()
  if heads then return end
  local by
  local seconds = now + tonumber(time[2]) / 1000000
  widths, by = widths_in_use(prefix, width, seconds)
  write = memory(prefix, widths, seconds, 'closed')
  heads, generation = heads_of(by), floor(seconds / by) * by
end

local function is_member(set, number)
  local found = redis.pcall('SISMEMBER', set, number)
  return found == 1 or (found ~= 0 and failed(set, found) and false)
end

-- Returns the set in which an OTP is remembered, and its number; nil where it is in none. `new`: look among those closed in
-- this generation alone.
local function recall(account, id, new)
  local _, bucket, number = fingerprint(account, id)
  for i = 1, new and 1 or #heads do
    local set = heads[i] .. bucket
    if is_member(set, number) then return set, number end
  end
end

-- Take members out of each set that has an OTP: after a change of DEDUPE_TTL it is in one for each width.
local function forget(account, id, ...)
  local _, bucket = fingerprint(account, id)
  for _, by in ipairs(widths) do
    for _, head in ipairs(heads_of(by)) do failed(head .. bucket, redis.pcall('SREM', head .. bucket, ...)) end
  end
end

-- Add to the counts in a hash: what is no number, or too large for one of Lua, is left to Redis, which says so.
local function count_up(name, counts)
  local fields, words = {}, {}
  for field, by in pairs(counts) do
    if by ~= 0 then fields[#fields + 1] = field end
  end
  if not fields[1] then return end
  for i, stored in ipairs(redis.call('HMGET', name, unpack(fields))) do
    local field = fields[i]
    if not stored or (#stored < 16 and string.find(stored, '^%d+$')) then
      words[#words + 1] = field
      words[#words + 1] = format('%.0f', tonumber(stored or 0) + counts[field])
    else
      failed(name .. ' ' .. field, redis.pcall('HINCRBY', name, field, format('%.0f', counts[field])))
    end
  end
  if words[1] then redis.call('HSET', name, unpack(words)) end
end

local bounds = {}
for i, le in ipairs(LATENCIES) do bounds[i] = 'le:' .. le end
bounds[#bounds + 1] = 'le:inf'

-- Count how long it took from `sent` (s) to `verified` (ms).
local function took(counts, sent, verified_ms)
  local ms = math.max(0, verified_ms - sent * 1000)
  local at = 1
  while LATENCIES[at] and ms > LATENCIES[at] * 1000 do at = at + 1 end
  local bound = bounds[at]
  counts[bound] = (counts[bound] or 0) + 1
  counts.latency = (counts.latency or 0) + math.min(ms, 86400000)
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

-- Returns the scores of those ids that are there.
local function scores_of(name, ids)
  local scores = {}
  for i, score in ipairs(redis.call('ZMSCORE', name, unpack(ids))) do scores[ids[i]] = tonumber(score or nil) end
  return scores
end

-- The scores of open OTPs are read once, changed here (`move`), and written once.
local function look_up(self, ids)
  self.scores, self.told, self.moved, self.is_moved = scores_of(self.open, ids), {}, {}, {}
  if self.waiting > 0 then self.told = scores_of(self.early, ids) end
end

local function move(self, id, score)
  if not self.is_moved[id] then self.moved[#self.moved + 1] = id end
  self.is_moved[id], self.scores[id] = true, score
end

local function write_moved(self)
  local words = {}
  for i, id in ipairs(self.moved) do
    words[2 * i - 1], words[2 * i] = format('%d', self.scores[id]), id
  end
  if words[1] then redis.call('ZADD', self.open, unpack(words)) end
end

-- Returns whether an OTP sent then (s) was not closed before this generation: most are looked for in one set. A clock may be
-- ahead by more than SKEW: then those sent up to the latest time that it told are looked for in all.
local function is_new(self, at)
  if at <= now + SKEW then return at > generation + SKEW and at > self.ahead end
  if at <= now + GENERATIONS * width and at > self.ahead then self.ahead, self.changes.ahead = at, at end
  return false
end

local function note_sent(self, at_ms, ttl, country, id)
  if self.scores[id] then return end -- a repeat
  local at = floor(at_ms / 1000)
  local sent = math.min(at, now)
  local known, number = recall(self.name, id, is_new(self, at))
  if known and not is_member(known, unmatched_as(number)) then return end -- a repeat
  if sent + ttl < now then sent, ttl = now, 0 end
  local told = self.told[id]
  local verified = (known or told) and 1 or 0
  local score = ((sent + ttl + grace - EPOCH) * LIVES + ttl) * FLAGS + place_of(country) * 2 + verified
  move(self, id, score)
  if told then
    redis.call('ZREM', self.early, id)
    self.waiting, self.told[id] = self.waiting - 1, nil
  end
  if known then forget(self.name, id, number, unmatched_as(number)) end
  self.dispatched = true
  self.add(field_of(score, ':sent'))
  if verified == 0 then return end
  self.add(field_of(score, ':verified'))
  if told and ttl > 0 then
    local given_up = floor(told / SHIFT) + EPOCH
    took(self.counts, sent, (given_up - patience - (told % SHIFT - HALF)) * 1000)
  end
end

local function note_verified(self, at_ms, id)
  local score = self.scores[id]
  if score and score % 2 == 0 then
    move(self, id, score + 1)
    self.add(field_of(score, ':verified'))
    local rest = floor(score / FLAGS)
    local ttl = rest % LIVES
    if ttl > 0 then took(self.counts, floor(rest / LIVES) + EPOCH - grace - ttl, at_ms) end
  elseif not score and not self.told[id] then
    local known, number = recall(self.name, id)
    if not known then
      local ago = math.max(0, math.min(SHIFT - 1, now - floor(at_ms / 1000) + HALF))
      local given_up = (now + patience - EPOCH) * SHIFT + ago
      self.waiting = self.waiting + redis.call('ZADD', self.early, 'NX', given_up, id)
      self.told[id] = given_up
    elseif is_member(known, unverified_as(number)) then
      forget(self.name, id, unverified_as(number))
      self.add('late')
    end
  end
end

-- Returns the parts of a notice; what is none goes where messages are read, and is buried there.
local function read(self, raw)
  local at, ttl, country, id
  if byte(raw) == 118 then -- v
    at, id = match(raw, '^verified (%d+) (.+)$')
  else
    at, ttl, country, id = match(raw, '^sent (%d+) (%d+) (%u%u) (.+)$')
  end
  local at_ms, seconds = tonumber(at), tonumber(ttl)
  if at and at_ms < now_ms - LATE then self.from_spool = true end
  if not at or #at > 15 or #id > LONGEST_ID or (seconds and (seconds < 30 or seconds > LONGEST_LIFE)) then
    redis.call('LPUSH', self.queue, raw)
    return
  end
  return at_ms, seconds, country, id
end

-- Returns whether all that waits is small: Redis allocates more for a list than is in it.
local function is_small(self)
  if self.length > MOST_MEASURED then return false end
  local known, allowed = pcall(redis.acl_check_cmd, 'MEMORY', 'USAGE', self.list) -- some services take the command out
  return known and allowed and redis.call('MEMORY', 'USAGE', self.list, 'SAMPLES', 0) <= BUDGET
end

-- Pop what one call takes: one notice after the other where nobody knows how long they are.
local function take(self)
  local most = math.min(self.length, most_notices)
  if most > 1 and is_small(self) then return redis.call('RPOP', self.list, most) end
  local raws, bytes = {}, BUDGET
  while #raws < most and bytes > 0 do
    raws[#raws + 1] = redis.call('RPOP', self.list)
    bytes = bytes - #raws[#raws]
  end
  self.are_long = bytes <= 0
  return raws
end

local function note_all(self)
  local raws = take(self)
  local here = #raws
  self.length, self.here = self.length - here, here
  noted, most_notices = noted + here, most_notices - here
  if here == 0 then return end
  local times, lives, countries, ids, n = {}, {}, {}, {}, 0
  for i = 1, here do
    local at_ms, ttl, country, id = read(self, raws[i])
    if at_ms then
      n = n + 1
      times[n], lives[n], countries[n], ids[n] = at_ms, ttl or false, country, id
    end
  end
  if self.are_long then
    raws = nil
    collectgarbage('collect')
  end
  if n == 0 then return end
  look_up(self, ids)
  for i = 1, n do
    if lives[i] then
      note_sent(self, times[i], lives[i], countries[i], ids[i])
    else
      note_verified(self, times[i], ids[i])
    end
  end
  write_moved(self)
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
    write(number, bucket, unmatched_as(number))
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

local function may(name, command, ...)
  if redis.acl_check_cmd(command, name, ...) then return true end
  note(name, 'NOPERM this user may not ' .. command)
  return false
end

-- Returns how many reports wait for another try, at the end of the schedule (automatic.lua); where it is more than `most`, `most`.
local function waiting_again(scheduled, most)
  local least = 0
  while least < most do
    local middle = least == 0 and 1 or math.ceil((least + most) / 2)
    local score = redis.call('ZRANGE', scheduled, -middle, -middle, 'WITHSCORES')[2]
    if score and tonumber(score) >= LOW then least = middle else most = middle - 1 end
  end
  return most
end

-- Close what ended before `upto` (ms), and say so of what was not verified.
local function close(self, upto, most_waiting, deadline)
  local limit = string.format('(%.0f', (math.floor(upto / 1000) - EPOCH) * LIVES * FLAGS)
  local most = math.max(math.ceil(most_closings / 4), most_closings - noted) -- a call that also notes takes no longer
  local due = redis.call('ZRANGEBYSCORE', self.open, '-inf', limit, 'WITHSCORES', 'LIMIT', 0, most)
  if #due == 0 then return end
  if not may(self.open, 'ZREMRANGEBYRANK', 0, 0) then return end
  open_memory()
  local room = 0
  if most_waiting > 0 then
    local waiting = redis.pcall('LLEN', self.low)
    local scheduled = key('scheduled', self.name)
    if failed(self.low, waiting) or not sound(scheduled, 'zset') then return end
    room = most_waiting - waiting
    room = room - waiting_again(scheduled, room)
  end
  local negatives, hours, closings = {}, {}, #due / 2
  for i = 1, #due, 2 do
    local id, score = due[i], math.max(0, tonumber(due[i + 1])) -- -inf: a hand's
    local verified = score % 2 == 1
    local digest, bucket, number = fingerprint(self.name, id)
    write(number, bucket, not verified and unverified_as(number))
    local field = field_of(score, verified and ':yes' or ':no')
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
  for field, by in pairs(hours) do self.add(field, by) end
  redis.call('ZREMRANGEBYRANK', self.open, 0, closings - 1)
  if negatives[1] then redis.call('LPUSH', self.low, unpack(negatives)) end
  local hour = self.hash .. ':' .. string.format('%.0f', math.floor(now / 3600))
  if sound(hour, 'hash') then
    count_up(hour, hours)
    redis.call('EXPIRE', hour, HOURS)
  end
  closed, most_closings = closed + closings, most_closings - closings
  if closings == most then more = 1 end
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
    if not may(self.queue, 'LPUSH') or not may(self.open, 'ZMSCORE', 'x') then return false end
  end
  return true
end

local function track(name, most_waiting, deadline)
  local self = account_of(name)
  if not usable(self) then return end
  local looked, watched, stored, marks, dispatched, back, ahead = unpack(redis.call('HMGET', self.hash,
    'looked', 'watched', 'noted', 'marks', 'dispatched', 'back', 'ahead'))
  if not looked and self.length == 0 then return end
  looked, watched, self.dispatched = tonumber(looked), tonumber(watched) or 0, dispatched and true
  self.ahead = tonumber(ahead) or 0
  local since = looked and now_ms - looked or gap_ms + 1
  if since > gap_ms or since < 0 then
    back, watched = now_ms, now_ms + pause_ms
    self.changes.back, self.changes.watched = back, watched
  end
  local counts = {}
  self.counts = counts
  self.add = function(field, by) counts[field] = (counts[field] or 0) + (by or 1) end
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
  count_up(self.hash, counts)
  local fields = {}
  for field, value in pairs(self.changes) do
    fields[#fields + 1] = field
    fields[#fields + 1] = type(value) == 'number' and string.format('%.0f', value) or value
  end
  if fields[1] then redis.call('HSET', self.hash, unpack(fields)) end
  left = left + self.length
  if left >= full or (self.are_long and self.length > 0) then more = 1 end -- what does not fill a call waits for more
end

for i = 9, #ARGV, 3 do
  track(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
end
return { noted, closed, more, faults }
