-- Adds records to an index of an owner, before they are written.
-- KEYS 1 the record that the owner was taken over, 2 the index; ARGV 1 TTL in ms, 2 stamp, 3… entries
-- Returns 'ok', or 'lost' if the owner was taken over.
for i = 3, #ARGV do
  if not listed(KEYS[1], KEYS[2], ARGV[i], ARGV[2], ARGV[1]) then
    return {'lost'}
  end
end
return {'ok'}
