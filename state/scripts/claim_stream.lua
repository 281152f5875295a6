-- Claims a stream name. May be repeated with the same owner and claim.
-- KEYS 1 the record, 2 the mark of a release that has overtaken its claim
-- ARGV 1 owner, 2 claim, 3 record as JSON, 4 TTL in ms
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim')
if r[1] and (r[1] ~= ARGV[1] or r[2] ~= ARGV[2]) then
  return {'taken'}
end
if redis.call('GET', KEYS[2]) == ARGV[1] .. ' ' .. ARGV[2] then
  return {'lost'}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'claim', ARGV[2], 'json', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'ok'}
