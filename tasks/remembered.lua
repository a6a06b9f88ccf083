-- Where delivered events are remembered: in front of the scripts that need it (tasks/script.py).
--
-- A generation spans `width` seconds, half of DEDUPE_TTL, and is named floor(time / width): after a change of the setting
-- workers would look under other names than they wrote. So the widths in use are known to all,
--   ZSET otpreport:remembered: '<width>:<since when all deliveries are written under it (s)>' to when it was last asked for (s),
-- and a delivery is written under each of them, and looked up under one, which reaches back as far as the event's memory has
-- to. A width that nobody asks for is dropped when the others reach back as far. Workers of the version before know no other
-- width than their own: with this version's DEDUPE_TTL of before, or the default, whose sets are looked for. They write under
-- the first width (since 0), so that is read while it lasts, and lasts a day longer.
local DAY = 86400

-- `kind`: 'done', or 'closed' for the OTPs that track.lua remembers.
local function done_key(prefix, width, age, bucket, now, kind)
  local generation = string.format('%.0f', math.floor(now / width) - age)
  return prefix .. 'otpreport:' .. (kind or 'done') .. ':' .. generation .. ':' .. bucket
end

-- Whether workers of the version before, which left no note, remember by the default width; it looks at every set, once.
local function default_was_used(prefix, now)
  if redis.call('HLEN', prefix .. 'otpreport:books') == 0 then return false end
  for age = 0, GENERATIONS - 1 do
    for bucket = 0, BUCKETS - 1 do
      if redis.call('EXISTS', done_key(prefix, DEFAULT_WIDTH, age, bucket, now)) == 1 then return true end
    end
  end
  return false
end

-- Whether deliveries are still written under a width: somebody may need what was written until it was last asked for.
local function is_in_use(width, since, asked, now)
  return now - asked <= 2.25 * width + (since == 0 and DAY or 0)
end

-- Returns the widths to write under, and the one to read by, for a worker whose own is `own`, at `now` (s, with its fraction:
-- what was delivered just before a width was first asked for is not written under it).
local function widths_in_use(prefix, own, now)
  local key = prefix .. 'otpreport:remembered'
  local stored, widths, since = need(key, redis.pcall('ZRANGE', key, 0, -1, 'WITHSCORES')), { own }, {}
  local asked, mine, goes_on = 0, nil, false
  for i = 1, #stored, 2 do
    local width, began = string.match(stored[i], '^(%d+):([%d.]+)$')
    width, began = tonumber(width), tonumber(began)
    local seen = tonumber(stored[i + 1])
    local in_use = width and began and is_in_use(width, began, seen, now) -- no text of ours: it goes
    if width == own then
      mine, asked, goes_on, since[own] = stored[i], seen, in_use, began
    elseif in_use then
      widths[#widths + 1], since[width] = width, began
    else
      redis.call('ZREM', key, stored[i])
    end
  end
  if #stored == 0 and own ~= DEFAULT_WIDTH and default_was_used(prefix, now) then
    redis.call('ZADD', key, string.format('%.6f', now), DEFAULT_WIDTH .. ':0')
    widths[2], since[DEFAULT_WIDTH] = DEFAULT_WIDTH, 0
  end
  if not mine or (#widths > 1 and not goes_on) then
    if mine then redis.call('ZREM', key, mine) end
    since[own] = #widths > 1 and now or 0
    mine, asked = string.format('%.0f:%.6f', own, since[own]), 0
  end
  if math.abs(now - asked) >= own / 8 then redis.call('ZADD', key, string.format('%.6f', now), mine) end
  local best, reach = own, math.min(2 * own, now - since[own])
  for i = 2, #widths do
    if since[widths[i]] == 0 then return widths, widths[i] end
    local other = math.min(2 * widths[i], now - since[widths[i]])
    if other > reach and reach < 2 * own then best, reach = widths[i], other end
  end
  return widths, best
end

-- Returns a function that remembers a delivery, or also another member, and tells whether that could be done.
local function memory(prefix, widths, now, kind)
  local heads, ends = {}, {}
  for i, width in ipairs(widths) do
    heads[i] = done_key(prefix, width, 0, '', now, kind)
    ends[i] = string.format('%.0f', (math.floor(now / width) + GENERATIONS) * width)
  end
  return function(member, bucket, also)
    for i, head in ipairs(heads) do
      local done = head .. bucket
      local added = also and redis.pcall('SADD', done, member, also) or redis.pcall('SADD', done, member)
      if failed(done, added) then return false end
      if not heads[2] then
        redis.call('EXPIREAT', done, ends[i], 'NX')
      elseif redis.call('TTL', done) < ends[i] - now - 1 then -- where two widths give one name, as long as either needs it
        redis.call('EXPIREAT', done, ends[i])
      end
    end
    return true
  end
end

-- Returns a function that tells whether a delivery counts as done: one of a true, or of a false where the event is no true,
-- whose member stands behind the other's then; nil where that can't be read. It looks into three sets.
local function recollection(prefix, width, now)
  local heads = {}
  for age = 0, GENERATIONS - 1 do heads[age + 1] = done_key(prefix, width, age, '', now) end
  return function(bucket, member, also)
    for _, head in ipairs(heads) do
      local done = head .. bucket
      local known = redis.pcall('SISMEMBER', done, member)
      if known == 0 and also then known = redis.pcall('SISMEMBER', done, also) end
      if failed(done, known) then return nil end
      if known == 1 then return true end
    end
    return false
  end
end
