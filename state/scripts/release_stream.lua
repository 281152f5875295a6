-- Gives a stream name free.
-- KEYS 1 the record, 2 the mark that the owner has released this claim, 3 the owners that have players
-- ARGV 1 owner, 2 claim, 3 TTL of the mark in ms, 0 for none
-- Gives 'ok' or 'none', the released record (empty for 'none'), and the owners that have players.
-- The same claim may still be on its way: one that was sent and not answered can be overtaken by its release, also when it was
-- sent again meanwhile and that one was answered. The mark has Redis refuse it, and an adoption likewise.
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
