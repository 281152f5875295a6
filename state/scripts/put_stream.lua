-- Replaces the record of a claimed stream.
-- KEYS 1 the record, 2 the owners that have players; ARGV 1 owner, 2 claim, 3 record as JSON, 4 TTL in ms
-- Returns 'ok' and the owners that have players.
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim')
if not r[1] then
  return {'none'}
end
if r[1] ~= ARGV[1] or r[2] ~= ARGV[2] then
  return {'lost'}
end
redis.call('HSET', KEYS[1], 'json', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'ok', unpack(redis.call('SMEMBERS', KEYS[2]))}
