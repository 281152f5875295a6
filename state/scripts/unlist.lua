-- Removes a record from an index of an owner, after it is deleted. A removal that arrives late, when the record is
-- listed again under a later stamp, removes nothing.
-- If the owner was taken over, nothing is removed: the taker can have released the record and died before it handed
-- that over. The next taker finds it by its entry.
-- KEYS 1 the record that the owner was taken over, 2 the index; ARGV 1 entry, 2 stamp. Returns 'ok' or 'lost'.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'lost'}
end
local had = redis.call('HGET', KEYS[2], ARGV[1])
if had and had <= ARGV[2] then
  redis.call('HDEL', KEYS[2], ARGV[1])
end
return {'ok'}
