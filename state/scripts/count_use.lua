-- Adds counts to the hash of a day. KEYS: hash. ARGV: lifetime in ms; most fields of a group; then for each count:
-- field, number, name of the group's size ('' for a field of no group), field that stands for all further ones.
for i = 3, #ARGV, 4 do
  local field, size = ARGV[i], ARGV[i + 2]
  if size ~= '' and redis.call('HEXISTS', KEYS[1], field) == 0 then
    if tonumber(redis.call('HGET', KEYS[1], size) or '0') < tonumber(ARGV[2]) then
      redis.call('HINCRBY', KEYS[1], size, 1)
    else
      field = ARGV[i + 3]
    end
  end
  redis.call('HINCRBY', KEYS[1], field, ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {'ok'}
