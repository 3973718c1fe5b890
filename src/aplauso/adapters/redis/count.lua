-- Applies one batch: compares the position, tells repeated votes from new ones, counts, moves the position.
--
-- KEYS  state, absent
-- ARGV  1-3  the expected topic, offset, epoch; all "" for none
--       4-6  the following topic, offset, epoch
--       7    the ids, 16 bytes each
--       8    MessagePack: [names of tables, table of each vote, hash of each id, group, rank, stamp of each vote]
--       9    MessagePack: [contests, [contest, band, album, shown band, shown album] of each group]
-- Answers {"moved", topic, offset, epoch}, {"dirty"} or {"applied", new votes by contest, repeated ones by contest}.
--
-- Nothing is written before everything has been read, so that whatever can fail fails first; the first write
-- marks the partition dirty and the last one clears the mark.

local SLOT_MS = 600000

local held = call('HMGET', STATE, 'topic', 'offset', 'epoch', 'time', 'dirty')
-- Whoever deleted the state alone left counts behind that belong to no position.
if held[5] or (not held[2] and call('EXISTS', IDS, CONTESTS) > 0) then
  return {'dirty'}
end
if (held[1] or '') ~= ARGV[1] or (held[2] or '') ~= ARGV[2] or (held[3] or '') ~= ARGV[3] then
  return {'moved', held[1], held[2], held[3]}
end

-- Remembered ids ------------------------------------------------------------------------------------------

local byte, find, sub, floor = string.byte, string.find, string.sub, math.floor

local function power_of_two_up_to(number)
  local power = 1
  while power * 2 <= number do power = power * 2 end
  return power
end

-- An id's hash is its last 24 bits: random in a UUIDv7, a digest's in a UUIDv8. Its bucket is the hash modulo
-- twice the greatest power of two within the number of buckets; where there is no such bucket yet, modulo the
-- power itself. This is written out where it is used: a call an id would cost a tenth of the whole.

local memory = {}   -- table name -> what it holds, what of it has been read, and what the batch adds
local function open_table(name, ids)
  local buckets = buckets_for(ids)
  local power = power_of_two_up_to(buckets)
  memory[name] = {
    name = name, slot = tonumber(name) or math.huge, prefix = bucket_key(name, ''),
    ids = ids, buckets = buckets, power = power, modulus = 2 * power,
    content = {}, fresh = {}, hashes = {},
  }
  return memory[name]
end

local counts = call('HGETALL', IDS)
for at = 1, #counts, 2 do
  open_table(counts[at], tonumber(counts[at + 1]))
end

-- Reads buckets into `content`: bucket -> its ids, one after the other.
local function read_buckets(known, numbers, keys)
  for first = 1, #keys, CHUNK do
    local last = math.min(first + CHUNK - 1, #keys)
    local values = call('MGET', unpack(keys, first, last))
    for at = first, last do
      local value = values[at - first + 1]
      -- MGET passes over values of another type; GET answers an error.
      known.content[numbers[at]] = value or call('GET', keys[at]) or ''
    end
  end
end

local votes, groups_of_batch = cmsgpack.unpack(ARGV[8]), cmsgpack.unpack(ARGV[9])
local table_of, hash_at, group_of, rank_of, stamp_of = unpack(votes, 2, 6)
local tables = {}
for at, name in ipairs(votes[1]) do
  tables[at] = memory[name] or open_table(name, 0)
end

local groups = {}   -- what the batch holds of one spelling of one album
for at, row in ipairs(groups_of_batch[2]) do
  groups[at] = {
    contest = row[1], band = row[2], album = row[3], shown_band = row[4], shown_album = row[5],
    votes = 0, ranks = 0, repeated = 0, stamp = math.huge, id = '',
  }
end

-- Byte by byte: Lua's own comparison follows the locale of the server.
local function is_less(id, other)
  for at = 1, #id do
    local mine, theirs = byte(id, at), byte(other, at)
    if mine ~= theirs then return mine < theirs end
  end
  return false
end

local wanted = {}   -- table -> the buckets that the batch's ids may be in, and their keys
for at = 1, #hash_at do
  local known = tables[table_of[at]]
  if known.ids > 0 then
    local bucket = hash_at[at] % known.modulus
    if bucket >= known.buckets then bucket = bucket - known.power end
    if not known.content[bucket] then
      known.content[bucket] = ''
      local list = wanted[known] or {{}, {}}
      wanted[known] = list
      local place = #list[1] + 1
      list[1][place], list[2][place] = bucket, known.prefix .. bucket
    end
  end
end
for known, list in pairs(wanted) do
  read_buckets(known, list[1], list[2])
end

-- Whether an id is among ids that lie one after the other.
local function holds(content, id)
  local at = find(content, id, 1, true)
  while at and at % 16 ~= 1 do at = find(content, id, at + 1, true) end
  return at ~= nil
end

local ids, seen = ARGV[7], {}
local time = tonumber(held[4] or 0)
local oldest = floor(time / SLOT_MS) - 1   -- the oldest slot that is remembered

for at = 1, #stamp_of do
  local stamp = stamp_of[at]
  if stamp > time then
    time = stamp
    oldest = floor(time / SLOT_MS) - 1
  end
  local id = sub(ids, 16 * at - 15, 16 * at)
  local group, known = groups[group_of[at]], tables[table_of[at]]
  local is_new = true
  if known.slot >= oldest then
    local hash = hash_at[at]
    if seen[id] then
      is_new = false
    elseif known.ids > 0 then
      local bucket = hash % known.modulus
      if bucket >= known.buckets then bucket = bucket - known.power end
      is_new = not holds(known.content[bucket], id)
    end
    if is_new then
      local place = #known.fresh + 1
      known.fresh[place], known.hashes[place] = id, hash
      seen[id] = true
    end
  end
  if is_new then
    group.votes = group.votes + 1
    group.ranks = group.ranks + rank_of[at]
    if stamp < group.stamp or (stamp == group.stamp and is_less(id, group.id)) then
      group.stamp, group.id = stamp, id
    end
  else
    group.repeated = group.repeated + 1
  end
end

-- The old buckets that a grown table splits.
local function read_splits(known)
  local numbers, keys, split = {}, {}, {}
  for bucket = known.buckets, known.grown - 1 do
    local source = bucket
    while source >= known.buckets do source = source - power_of_two_up_to(source) end
    if not split[source] then
      split[source] = true
      numbers[#numbers + 1], keys[#keys + 1] = source, known.prefix .. source
    end
  end
  read_buckets(known, numbers, keys)
  return numbers
end

local kept, forgotten = {}, {}
for _, known in pairs(memory) do
  if known.slot < oldest and known.ids > 0 then
    forgotten[#forgotten + 1] = known
  elseif known.slot >= oldest and #known.fresh > 0 then
    known.grown = buckets_for(known.ids + #known.fresh)
    known.split = known.ids > 0 and read_splits(known) or {}
    kept[#kept + 1] = known
  end
end

-- Standings -----------------------------------------------------------------------------------------------

local contests = {}   -- contest -> the lines of bands and of albums that the batch changes
for at, name in ipairs(groups_of_batch[1]) do
  contests[at] = {name = name, new = 0, repeated = 0, bands = {}, albums = {}}
end

local function add(lines, field, empty, votes_at, group, text)
  local line = lines[field]
  if not line then
    line = {empty = empty, votes = 0, ranks = 0, stamp = math.huge, id = '', votes_at = votes_at}
    lines[field] = line
  end
  line.votes, line.ranks = line.votes + group.votes, line.ranks + group.ranks
  if group.stamp < line.stamp or (group.stamp == line.stamp and is_less(group.id, line.id)) then
    line.stamp, line.id, line.text = group.stamp, group.id, text
  end
end

for _, group in ipairs(groups) do
  local contest = contests[group.contest]
  contest.new, contest.repeated = contest.new + group.votes, contest.repeated + group.repeated
  if group.votes > 0 then
    local band, album = group.band, group.album
    add(contest.bands, band, {band, 0, 0}, 2, group, group.shown_band)
    add(contest.albums, #band .. ':' .. band .. album, {band, album, 0}, 3, group, group.shown_album)
  end
end

local function uuid(id)
  local hex = string.gsub(id, '.', function(char) return string.format('%02x', byte(char)) end)
  return table.concat({sub(hex, 1, 8), sub(hex, 9, 12), sub(hex, 13, 16), sub(hex, 17, 20), sub(hex, 21)}, '-')
end

-- The stored line with the batch's added to it; positions 4, 5 and 6 hold the spelling.
local function merged(stored, line)
  local whole = stored and cmsgpack.unpack(stored) or line.empty
  whole[line.votes_at] = whole[line.votes_at] + line.votes
  if line.votes_at == 2 then whole[3] = whole[3] + line.ranks end
  if not stored or line.stamp < whole[4] or (line.stamp == whole[4] and is_less(uuid(line.id), whole[5])) then
    whole[4], whole[5], whole[6] = line.stamp, uuid(line.id), line.text
  end
  return cmsgpack.pack(whole)
end

local changes = {}   -- {key, {field, value, field, value, …}}
local function read_changes(key, lines)
  local fields, changed = {}, {}
  for field in pairs(lines) do fields[#fields + 1] = field end
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local stored = call('HMGET', key, unpack(fields, first, last))
    for at = first, last do
      changed[2 * at - 1], changed[2 * at] = fields[at], merged(stored[at - first + 1], lines[fields[at]])
    end
  end
  if #fields > 0 then changes[#changes + 1] = {key, changed} end
end

local new, repeated = {}, {}
for at, contest in ipairs(contests) do
  read_changes(PREFIX .. 'b:' .. contest.name, contest.bands)
  read_changes(PREFIX .. 'a:' .. contest.name, contest.albums)
  call('SISMEMBER', CONTESTS, contest.name)
  new[at], repeated[at] = contest.new, contest.repeated
end

-- Writing -------------------------------------------------------------------------------------------------

call('HSET', STATE, 'dirty', '1')
-- What exists is written down before it exists, so that wiping a dirty partition finds all of it.
for _, known in ipairs(kept) do
  call('HSET', IDS, known.name, known.ids + #known.fresh)
end
for _, contest in ipairs(contests) do
  if contest.new > 0 then call('SADD', CONTESTS, contest.name) end
end

-- Deals the ids of a bucket out to the buckets that they belong in now.
local function split_bucket(known, source)
  local dealt, content = {}, known.content[source]
  local grown, power = known.grown, known.grown_power
  for first = 1, #content, 16 do
    local high, middle, low = byte(content, first + 13, first + 15)
    local bucket = (high * 65536 + middle * 256 + low) % (2 * power)
    if bucket >= grown then bucket = bucket - power end
    local part = dealt[bucket]
    if not part then
      part = {}
      dealt[bucket] = part
    end
    part[#part + 1] = sub(content, first, first + 15)
  end
  if not dealt[source] then call('UNLINK', known.prefix .. source) end
  for bucket, part in pairs(dealt) do
    call('SET', known.prefix .. bucket, table.concat(part))
  end
end

local function add_ids(known)
  local grown, power, hashes, added = known.grown, known.grown_power, known.hashes, {}
  for at, id in ipairs(known.fresh) do
    local bucket = hashes[at] % (2 * power)
    if bucket >= grown then bucket = bucket - power end
    local before = added[bucket]
    added[bucket] = before and before .. id or id
  end
  for bucket, content in pairs(added) do
    call('APPEND', known.prefix .. bucket, content)
  end
end

for _, known in ipairs(kept) do
  known.grown_power = power_of_two_up_to(known.grown)
  for _, source in ipairs(known.split) do
    split_bucket(known, source)
  end
  add_ids(known)
end
for _, known in ipairs(forgotten) do
  forget(known.name, known.ids)
end
for _, change in ipairs(changes) do
  in_chunks('HSET', change[1], change[2], 2)
end
call('HSET', STATE, 'topic', ARGV[4], 'offset', ARGV[5], 'epoch', ARGV[6], 'time', string.format('%.0f', time))
call('HDEL', STATE, 'dirty')
return {'applied', new, repeated}
