-- Reads a partition's position and standings in one step.
--
-- KEYS  state, absent
-- ARGV  1  the contest; every one when there is no argument
-- Answers {topic, offset, epoch, contest, bands, albums, contest, bands, albums, …}, each of bands and albums one
-- MessagePack array; nothing for a partition that has no position, or is dirty and therefore about to be wiped.

local held = call('HMGET', STATE, 'topic', 'passed', 'epoch', 'dirty')
if held[4] or not held[2] then
  return {}
end

local answer = {held[1], held[2], held[3]}
for _, contest in ipairs(#ARGV > 0 and ARGV or call('SMEMBERS', CONTESTS)) do
  answer[#answer + 1] = contest
  answer[#answer + 1] = array_of(call('HVALS', PREFIX .. 'b:' .. contest))
  answer[#answer + 1] = array_of(call('HVALS', PREFIX .. 'a:' .. contest))
end
return answer
