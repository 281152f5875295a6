-- Removes records from an index of an owner, after they are deleted. A removal that arrives late, when a record is
-- listed again under a later stamp, does not remove that.
-- If the owner was taken over, nothing is removed: the taker can have released a record and died before it handed
-- that over. The next taker finds it by its entry.
-- KEYS 1 the record that the owner was taken over, 2 the index; ARGV 1 stamp, 2… entries. Returns 'ok' or 'lost'.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'lost'}
end
for i = 2, #ARGV do
  local had = redis.call('HGET', KEYS[2], ARGV[i])
  if had and had <= ARGV[1] then
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
return {'ok'}
