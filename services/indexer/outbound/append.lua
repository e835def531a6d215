-- Applies one envelope's events of one user, all or nothing; a second time it changes nothing.
-- KEYS: user, acted pins, blocked pins, then (buckets, head, ids) of each sequence, then viewed pins of each surface.
-- ARGV: now_ms, max pins, oldest time of acted pins, number of sequences,
--       per sequence: number of rows, per row: event time, event id, id digest, payload digest, row;
--       then acted pins, blocked pins and viewed pins of each surface, each as: count, per pin: pin id, time.
-- Returns: version, then per sequence: new, duplicates, conflicts, late, rows in the head.
local now_ms, max_pins, oldest_acted_ms, num_sequences = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at = 5

local function is_at_or_below(id, floor_id)  -- by bytes; Lua's own comparison depends on the locale
  local shared = math.min(#id, #floor_id)
  for place = 1, shared do
    local one, other = string.byte(id, place), string.byte(floor_id, place)
    if one ~= other then return one < other end
  end
  return #id <= #floor_id
end

local function append_rows(buckets, head, ids)
  local floor = redis.call('HMGET', buckets, 'floor_ms', 'floor_id')
  local floor_ms = tonumber(floor[1] or '-1')
  local rows, new_ids = {}, {}
  local num_duplicate, num_conflict, num_late = 0, 0, 0
  local num_rows = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, num_rows do
    local time_ms, id = tonumber(ARGV[at]), ARGV[at + 1]
    local digest, payload = ARGV[at + 2], ARGV[at + 3]
    local known = redis.call('HGET', ids, digest)
    if known then
      if known == payload then num_duplicate = num_duplicate + 1 else num_conflict = num_conflict + 1 end
    elseif time_ms < floor_ms or (time_ms == floor_ms and is_at_or_below(id, floor[2])) then
      num_late = num_late + 1
    else
      rows[#rows + 1] = ARGV[at + 4]
      redis.call('HSET', ids, digest, payload)
    end
    at = at + 5
  end
  local num_head
  if #rows > 0 then
    -- A new generation starts at the time, so that after a flush no old plan to seal can fit.
    redis.call('HSETNX', buckets, 'generation', now_ms)
    redis.call('APPEND', head, table.concat(rows))
    num_head = redis.call('HINCRBY', buckets, 'num_head', #rows)
  else
    num_head = tonumber(redis.call('HGET', buckets, 'num_head') or '0')
  end
  return {#rows, num_duplicate, num_conflict, num_late, num_head}
end

local function keep_newest(key)
  local num_pins = tonumber(ARGV[at])
  at = at + 1
  if num_pins == 0 then return end
  for _ = 1, num_pins do
    redis.call('ZADD', key, 'GT', ARGV[at + 1], ARGV[at])
    at = at + 2
  end
  redis.call('ZREMRANGEBYRANK', key, 0, -max_pins - 1)
end

local answer, num_new = {0}, 0
for sequence = 0, num_sequences - 1 do
  local place = 4 + 3 * sequence
  local counts = append_rows(KEYS[place], KEYS[place + 1], KEYS[place + 2])
  num_new = num_new + counts[1]
  for _, count in ipairs(counts) do answer[#answer + 1] = count end
end
keep_newest(KEYS[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. oldest_acted_ms)
keep_newest(KEYS[3])
for place = 4 + 3 * num_sequences, #KEYS do keep_newest(KEYS[place]) end

if num_new > 0 then
  -- The first version is the time, so that after a flush no version comes back with another content.
  if redis.call('HSETNX', KEYS[1], 'version', now_ms) == 0 then redis.call('HINCRBY', KEYS[1], 'version', 1) end
end
answer[1] = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
return answer
