-- A function for the scripts that claim. Where one server has all keys, they enlist the entry themselves, like
-- enlist.lua; elsewhere that has been run before, and taken is nil.
-- Returns false if the owner was taken over.
local function listed(taken, index, entry, ttl)
  if not taken then
    return true
  end
  if redis.call('EXISTS', taken) == 1 then
    return false
  end
  redis.call('SADD', index, entry)
  redis.call('PEXPIRE', index, ttl)
  return true
end

