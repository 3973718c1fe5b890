-- Wipes a partition that is dirty or has lost its position; does nothing to another. KEYS: state, absent.

if call('HEXISTS', STATE, 'dirty') == 0 and call('HEXISTS', STATE, 'passed') == 1 then
  return 0
end
-- By the first layout's load, whose buckets are the more: names of ours are among theirs.
forget(call('HGETALL', IDS), FIRST_LOAD)
for _, contest in ipairs(call('SMEMBERS', CONTESTS)) do
  call('UNLINK', PREFIX .. 'b:' .. contest, PREFIX .. 'a:' .. contest)
end
-- The state goes last: until then the partition is dirty.
call('UNLINK', IDS, CONTESTS, RECENT)
call('DEL', STATE)
return 1
