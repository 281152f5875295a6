-- Transfers a stream that was claimed in an earlier generation to another owner. Can be repeated.
-- KEYS 1 the record, 2 the mark that the new owner released this claim (possibly before the adoption arrived)
-- ARGV 1 the new owner, 2 claim, 3 generation, 4 record as JSON, 5 TTL in ms
-- Returns 'ok', 'none' or 'lost'.
local r = redis.call('HMGET', KEYS[1], 'owner', 'claim', 'gen')
if not r[1] then
  return {'none'}
end
if r[2] ~= ARGV[2] or redis.call('EXISTS', KEYS[2]) == 1 then
  return {'lost'}
end
if r[1] ~= ARGV[1] and tonumber(r[3]) >= tonumber(ARGV[3]) then
  return {'lost'}
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'gen', ARGV[3], 'json', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {'ok'}
