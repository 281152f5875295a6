-- Records that an owner is dead and which owner takes over, unless it lives or another taker is active.
-- KEYS 1 the owner's lease, 2 the record that the owner was taken over
-- ARGV 1 the taker, 2 the earlier taker that died, or '', 3 TTL in ms
-- Returns 'ok', 'alive', or 'taken' and the taker.
local by = redis.call('GET', KEYS[2])
if by and by ~= ARGV[1] and by ~= ARGV[2] then
  return {'taken', by}
end
if not by and redis.call('EXISTS', KEYS[1]) == 1 then
  return {'alive'}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
return {'ok'}
