-- Gives a claimed stream to another owner. May be repeated.
-- KEYS 1 the record; ARGV 1 its owner, 2 claim, 3 the new owner, 4 record as JSON, 5 TTL in ms
-- Gives 'ok', 'none' or 'lost'.
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim')
if not r[1] then
  return {'none'}
end
if (r[1] ~= ARGV[1] and r[1] ~= ARGV[3]) or r[2] ~= ARGV[2] then
  return {'lost'}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[3], 'json', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'ok'}
