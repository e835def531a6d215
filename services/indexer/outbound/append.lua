-- Applies one envelope's events of some users, all or nothing; a second time it changes nothing.
-- KEYS, by user: user, then (buckets, head, ids) of each sequence, then each list of pins.
-- ARGV: now_ms, max pins; then by user: number of sequences, number of lists, the rows of each sequence, each list.
--   Rows: one text, per row: event time f64, id digest 12 B, payload digest 8 B, length of the id u16, id, row, which
--   begins with its length u32.  List: one text: oldest time to keep f64; per pin: time f64, length u16, pin id.
--   All little-endian.
-- Returns, by user: version, then per sequence: new, duplicates, conflicts, late, rows in the head.
local REST_BYTES, ENTRY_BYTES = 11, 19  -- of a held id: its digest without the first byte; that and the payload's digest
local now_ms, max_pins = ARGV[1], tonumber(ARGV[2])
local at_key, at_argument = 1, 3
local answer = {}

local function next_key()
  at_key = at_key + 1
  return KEYS[at_key - 1]
end

local function next_argument()
  at_argument = at_argument + 1
  return ARGV[at_argument - 1]
end

local function is_at_or_below(id, floor_id)  -- by bytes; Lua's own comparison depends on the locale
  local shared = math.min(#id, #floor_id)
  for place = 1, shared do
    local one, other = string.byte(id, place), string.byte(floor_id, place)
    if one ~= other then return one < other end
  end
  return #id <= #floor_id
end

local function payload_of(held, rest)  -- nil when none of the held ids has this digest
  local at = string.find(held, rest, 1, true)
  while at and (at - 1) % ENTRY_BYTES ~= 0 do at = string.find(held, rest, at + 1, true) end
  return at and string.sub(held, at + REST_BYTES, at + ENTRY_BYTES - 1)
end

local function append_rows(buckets, head, ids, data)
  local floor = redis.call('HMGET', buckets, 'floor_ms', 'floor_id')
  local floor_ms = tonumber(floor[1] or '-1')
  local rows, held, grown = {}, {}, {}  -- held and grown by the first byte of the digests
  local num_duplicate, num_conflict, num_late = 0, 0, 0
  local at = 1
  while at <= #data do
    local time_ms, first, rest, payload, id_bytes, id_at = struct.unpack('<dc1c11c8I2', data, at)
    local row_at = id_at + id_bytes
    local row_end = row_at + struct.unpack('<I4', data, row_at)
    held[first] = held[first] or redis.call('HGET', ids, first) or ''
    local known = payload_of(held[first], rest)
    if known then
      if known == payload then num_duplicate = num_duplicate + 1 else num_conflict = num_conflict + 1 end
    elseif time_ms < floor_ms
      or (time_ms == floor_ms and is_at_or_below(string.sub(data, id_at, row_at - 1), floor[2])) then
      num_late = num_late + 1
    else
      rows[#rows + 1] = string.sub(data, row_at, row_end - 1)
      held[first] = held[first] .. rest .. payload
      grown[first] = true
    end
    at = row_end
  end
  local num_head
  if #rows > 0 then
    -- A new generation starts at the time, so that after a flush no old plan to seal can fit.
    redis.call('HSETNX', buckets, 'generation', now_ms)
    redis.call('APPEND', head, table.concat(rows))
    for first in pairs(grown) do redis.call('HSET', ids, first, held[first]) end
    num_head = redis.call('HINCRBY', buckets, 'num_head', #rows)
  else
    num_head = tonumber(redis.call('HGET', buckets, 'num_head') or '0')
  end
  for _, count in ipairs({#rows, num_duplicate, num_conflict, num_late, num_head}) do answer[#answer + 1] = count end
  return #rows
end

local function keep_newest(key, data)
  local oldest_ms, at = struct.unpack('<d', data)
  while at <= #data do
    local time_ms, pin_bytes, pin_at = struct.unpack('<dI2', data, at)
    at = pin_at + pin_bytes
    redis.call('ZADD', key, 'GT', string.format('%.0f', time_ms), string.sub(data, pin_at, at - 1))
  end
  if oldest_ms > 0 then redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', oldest_ms)) end
  redis.call('ZREMRANGEBYRANK', key, 0, -max_pins - 1)
end

local function append_user()
  local user = next_key()
  local num_sequences, num_lists = tonumber(next_argument()), tonumber(next_argument())
  answer[#answer + 1] = 0
  local version_at, num_new = #answer, 0
  for _ = 1, num_sequences do
    local buckets, head, ids = next_key(), next_key(), next_key()
    num_new = num_new + append_rows(buckets, head, ids, next_argument())
  end
  for _ = 1, num_lists do keep_newest(next_key(), next_argument()) end
  if num_new > 0 then
    -- The first version is the time, so that after a flush no version comes back with another content.
    if redis.call('HSETNX', user, 'version', now_ms) == 0 then redis.call('HINCRBY', user, 'version', 1) end
  end
  answer[version_at] = tonumber(redis.call('HGET', user, 'version') or '0')
end

while at_key <= #KEYS do append_user() end
return answer
