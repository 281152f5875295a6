-- A function for the scripts that write records, and for enlist.lua. Where one server has all keys, these scripts
-- enlist the entry themselves; elsewhere enlist.lua has been run before, and taken is nil.
-- Returns false if the owner was taken over: the taker reads the index only once, so nothing must be added to it.
local function listed(taken, index, entry, stamp, ttl)
  if not taken then
    return true
  end
  if redis.call('EXISTS', taken) == 1 then
    return false
  end
  if (redis.call('HGET', index, entry) or '') < stamp then
    redis.call('HSET', index, entry, stamp)
  end
  redis.call('PEXPIRE', index, ttl)
  return true
end

