-- Puts closed buckets in the place of head rows and other buckets, if nobody else did so since the plan was made.
-- KEYS: buckets, head, ids.
-- ARGV: generation, head bytes, head rows, index, floor time ('' = unchanged), floor id,
--       number of new buckets, per bucket: field, blob; number of gone buckets, per bucket: field;
--       number of forgotten ids, per id: digest.
-- Returns: 1 when done, 0 when the plan no longer fits.
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
each(2, function(field, blob) redis.call('HSET', KEYS[1], field, blob) end)
each(1, function(field) redis.call('HDEL', KEYS[1], field) end)
each(1, function(digest) redis.call('HDEL', KEYS[3], digest) end)
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
return 1
