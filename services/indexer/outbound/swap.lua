-- Puts closed buckets in the place of head rows and other buckets, if nobody else did so since the plan was made.
-- KEYS: buckets, head, ids; then the user, when readers see something else afterwards: the version grows.
-- ARGV: generation, head bytes, head rows, index, floor time ('' = unchanged), floor id,
--       number of new buckets, per bucket: field, blob; number of gone buckets, per bucket: field;
--       digests of the forgotten ids, 12 B each, one after another.
-- Returns: 1 when done, 0 when the plan no longer fits.
local DIGEST_BYTES, ENTRY_BYTES = 12, 19  -- an entry of `append.lua` begins with a digest without its first byte
local head_bytes = tonumber(ARGV[2])
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] or redis.call('STRLEN', KEYS[2]) < head_bytes then return 0 end
local at = 7
local function each(width, apply)
  local count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    apply(ARGV[at], ARGV[at + 1])
    at = at + width
  end
end
local function without(held, rest)
  local found = string.find(held, rest, 1, true)
  while found and (found - 1) % ENTRY_BYTES ~= 0 do found = string.find(held, rest, found + 1, true) end
  if not found then return held end
  return string.sub(held, 1, found - 1) .. string.sub(held, found + ENTRY_BYTES)
end
local function forget(digests)
  local held = {}
  for place = 1, #digests, DIGEST_BYTES do
    local first = string.sub(digests, place, place)
    held[first] = held[first] or redis.call('HGET', KEYS[3], first) or ''
    held[first] = without(held[first], string.sub(digests, place + 1, place + DIGEST_BYTES - 1))
  end
  for first, left in pairs(held) do
    if left == '' then redis.call('HDEL', KEYS[3], first) else redis.call('HSET', KEYS[3], first, left) end
  end
end
each(2, function(field, blob) redis.call('HSET', KEYS[1], field, blob) end)
each(1, function(field) redis.call('HDEL', KEYS[1], field) end)
forget(ARGV[at])
if head_bytes > 0 then
  local rest = redis.call('GETRANGE', KEYS[2], head_bytes, -1)
  if rest == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], rest) end
end
redis.call('HSET', KEYS[1], 'index', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'num_head', -tonumber(ARGV[3]))
redis.call('HINCRBY', KEYS[1], 'generation', 1)
local floor_ms = tonumber(redis.call('HGET', KEYS[1], 'floor_ms') or '-1')
if ARGV[5] ~= '' and tonumber(ARGV[5]) >= floor_ms then
  redis.call('HSET', KEYS[1], 'floor_ms', ARGV[5], 'floor_id', ARGV[6])
end
if KEYS[4] then redis.call('HINCRBY', KEYS[4], 'version', 1) end
return 1
