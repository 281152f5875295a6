-- Removes a record from an index of an owner, after it is deleted. A removal that arrives late, when the record is
-- listed again under a later stamp, removes nothing.
-- KEYS 1 the index; ARGV 1 entry, 2 stamp. Returns 'ok'.
local had = redis.call('HGET', KEYS[1], ARGV[1])
if had and had <= ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return {'ok'}
