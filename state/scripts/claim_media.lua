-- Claims a media id. Can be repeated, and takes it from the owner that had the same stream or player in an
-- earlier generation.
-- KEYS 1 the media id, 2… see listed; ARGV 1 owner, 2 entry, 3 generation, 4 TTL in ms,
-- 5 stamp
-- Returns 'ok', 'taken', 'adopted' if another owner has it in a later generation, or 'over'.
local v = redis.call('GET', KEYS[1])
local generation = ARGV[3]
if v then
  local owner, entry, of = string.match(v, '^(%S+) (.*) (%d+)$')
  local later = tonumber(of) - tonumber(generation)
  if entry ~= ARGV[2] or (owner ~= ARGV[1] and later == 0) then
    return {'taken'}
  end
  if owner ~= ARGV[1] and later > 0 then
    return {'adopted'}
  end
  generation = math.max(of, generation)
end
if not listed(KEYS[2], KEYS[3], ARGV[2], ARGV[5], ARGV[4]) then
  return {'over'}
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. generation, 'PX', ARGV[4])
return {'ok'}
