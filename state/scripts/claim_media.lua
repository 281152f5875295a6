-- Claims a media id. May be repeated, and takes it from whoever had the same stream or player in an earlier era.
-- KEYS 1 the media id; ARGV 1 owner, 2 entry, 3 era, 4 TTL in ms
-- Gives 'ok', 'taken', or 'adopted' when another owner has it in a later era.
local v = redis.call('GET', KEYS[1])
local era = ARGV[3]
if v then
  local owner, entry, of = string.match(v, '^(%S+) (.*) (%d+)$')
  local later = tonumber(of) - tonumber(era)
  if entry ~= ARGV[2] or (owner ~= ARGV[1] and later == 0) then
    return {'taken'}
  end
  if owner ~= ARGV[1] and later > 0 then
    return {'adopted'}
  end
  era = math.max(of, era)
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. era, 'PX', ARGV[4])
return {'ok'}
