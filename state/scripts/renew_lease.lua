-- Acquires or renews the lease of an owner. An expired lease is not lost: only a recorded take-over ends it.
-- KEYS 1 the lease, 2 the record that the owner was taken over; ARGV 1 the pod's description, 2 lease in ms
-- Returns 'lost', 'held' if the lease existed, 'missing' if it did not.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {'lost'}
end
local held = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {held == 1 and 'held' or 'missing'}
