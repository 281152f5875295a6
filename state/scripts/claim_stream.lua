-- Claims a stream name. Can be repeated with the same owner and claim, and takes the name from an owner that
-- had the same claim in an earlier generation.
-- KEYS 1 the record, 2 the mark that the owner released this claim (possibly before it arrived), 3… see listed
-- ARGV 1 owner, 2 claim, 3 generation, 4 record as JSON, 5 TTL in ms, 6 entry, 7 its
-- stamp
-- Returns 'ok', 'taken', 'adopted' if another owner has the same claim in a later generation, 'lost', or
-- 'over'.
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim', 'gen')
local later = tonumber(r[3] or 0) - tonumber(ARGV[3])
if r[1] and (r[2] ~= ARGV[2] or (r[1] ~= ARGV[1] and later == 0)) then
  return {'taken'}
end
if r[1] and r[1] ~= ARGV[1] and later > 0 then
  return {'adopted'}
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {'lost'}
end
if not listed(KEYS[3], KEYS[4], ARGV[6], ARGV[7], ARGV[5]) then
  return {'over'}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'claim', ARGV[2], 'gen', math.max(r[3] or 0, ARGV[3]), 'json', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'ok'}
