-- Releases a stream name.
-- KEYS 1 the record, 2 the mark that the owner released this claim, 3 the owners that have players
-- ARGV 1 owner, 2 claim, 3 TTL of the mark in ms, 0 for none
-- Returns 'ok' or 'none', the released record (empty for 'none'), and the owners that have players. The same
-- claim can arrive later: a claim that was sent and not answered can be overtaken by its release, also if it
-- was sent again and the repetition was answered. The mark makes the scripts reject it, and an adoption as
-- well.
if ARGV[3] ~= '0' then
  redis.call('SET', KEYS[2], '', 'PX', ARGV[3])
end
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim', 'json')
if r[1] == ARGV[1] and r[2] == ARGV[2] then
  redis.call('DEL', KEYS[1])
  return {'ok', r[3], unpack(redis.call('SMEMBERS', KEYS[3]))}
end
if r[1] then
  return {'lost'}
end
return {'none', '', unpack(redis.call('SMEMBERS', KEYS[3]))}
