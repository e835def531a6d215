-- Reads what the newest events of one sequence need: the head and the buckets that can hold one of them.
-- KEYS: user, buckets, head.  ARGV: max events, oldest event time.
-- Returns: version, events held, head, buckets.
local max_events, oldest_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[2], 'index', 'num_head')
local index = cjson.decode(state[1] or '[]')
local num_held = tonumber(state[2] or '0')
local fields = {}
for _, bucket in ipairs(index) do
  num_held = num_held + bucket[2]
  local num_newer = 0
  for _, other in ipairs(index) do
    if other[3] > bucket[4] then num_newer = num_newer + other[2] end
  end
  if num_newer < max_events and bucket[4] >= oldest_ms then fields[#fields + 1] = 'b' .. bucket[1] end
end
local blobs = {}
if #fields > 0 then blobs = redis.call('HMGET', KEYS[2], unpack(fields)) end
return {redis.call('HGET', KEYS[1], 'version') or '0', num_held, redis.call('GET', KEYS[3]) or '', blobs}
