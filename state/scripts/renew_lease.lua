-- Takes or renews the lease of an owner. An expired one is not lost: only a recorded take-over ends it.
-- KEYS 1 the lease, 2 the record that the owner was taken over; ARGV 1 what the pod says of itself, 2 lease in ms
-- Gives 'lost', 'held' when the lease was there, 'missing' when it was not.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return {'lost'}
end
local held = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {held == 1 and 'held' or 'missing'}
