-- Applies one batch: compares the position, tells repeated votes from new ones, counts, moves the position.
--
-- KEYS  state, absent
-- ARGV  1-3  the expected topic, offset, epoch; all "" for none
--       4-6  the following topic, offset, epoch
--       7    the batch's ids, each once, 16 bytes each, those of one table together, in the order of their hashes' bits, the
--            lowest first: however many buckets the table has, those of one bucket then lie side by side
--       8    MessagePack: [tables, contests, latest stamp]
--              tables    [name, number of its ids]
--              contests  [name, votes, fields of bands, lengths of their lines, fields of albums, lengths of theirs]: what the
--                        first votes of each id come to
--       9    those lines, one after the other
--       10   "", or MessagePack: [groups, id, group, rank, stamp]
--              groups    one spelling of one album: [contest from 1, band, album, name, title]
--              the others are arrays over all votes in the log's order; id and group from 0
-- Answers {"moved", topic, offset, epoch}, {"dirty"}, {"votes"} or {"applied", new votes by contest}.
--
-- The client adds up as if none of the ids were remembered. Where that holds, no vote is looked at here, only ids;
-- where it does not, the votes are walked one by one: {"votes"} asks for them, in argument 10, and nothing was done.
--
-- Nothing is written before everything has been read, so that whatever can fail fails first; the first write
-- marks the partition dirty and the last one clears the mark.

local SLOT_MS = 600000
local BATCHES, BYTES = 40, 32768   -- of the latest batches, for readers: how many are kept, and how large each may be

local held = call('HMGET', STATE, 'topic', 'passed', 'epoch', 'time', 'dirty')
-- What belongs to no position: somebody deleted the state alone, or it lies in an earlier layout, counts or not.
if held[5] or (not held[2] and call('EXISTS', STATE, IDS, CONTESTS) > 0) then
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
-- power itself.

local ids = ARGV[7]

-- The buckets that the batch's ids of a table lie in when it has so many, and with which id each of them ends.
local function runs_of(known, buckets)
  local numbers, ends, last = {}, {}, known.last
  if buckets == 1 then return {0}, {last} end
  local power = power_of_two_up_to(buckets)
  local modulus = 2 * power
  local function bucket_of(at)
    local high, middle, low = byte(ids, 16 * at - 2, 16 * at)
    local bucket = (high * 65536 + middle * 256 + low) % modulus
    if bucket >= buckets then return bucket - power end
    return bucket
  end
  local count, at = 0, known.first
  while at <= last do
    local bucket, step = bucket_of(at), 1
    while at + step <= last and bucket_of(at + step) == bucket do
      at, step = at + step, 2 * step
    end
    while step > 1 do
      step = step / 2
      if at + step <= last and bucket_of(at + step) == bucket then at = at + step end
    end
    count = count + 1
    numbers[count], ends[count] = bucket, at
    at = at + 1
  end
  return numbers, ends
end

-- The slot that a table's ids belong to; those of keys come after every slot.
local function slot_of(name)
  return tonumber(string.match(name, '^%d+')) or math.huge
end

-- A table: what it holds, what of it has been read, and what the batch adds, whose ids lie from `first` to `last`.
local function open_table(name, remembered, first, last)
  local buckets = buckets_for(remembered)
  return {
    name = name, slot = slot_of(name), prefix = bucket_key(name, ''), ids = remembered, buckets = buckets,
    content = {}, fresh = last - first + 1, first = first, last = last,
  }
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

local tables_of_batch, contests_of_batch, latest = unpack(cmsgpack.unpack(ARGV[8]), 1, 3)
local before = tonumber(held[4] or 0)   -- the partition's time before the batch
local time = math.max(before, latest)
local function oldest_at(moment) return floor(moment / SLOT_MS) - 1 end
local oldest = oldest_at(time)   -- the oldest slot that is remembered

local tables, must_walk = {}, false   -- the tables of the batch's ids
local last = 0
for first = 1, #tables_of_batch, CHUNK do
  local names = {}
  for at = first, math.min(first + CHUNK - 1, #tables_of_batch) do
    names[#names + 1] = tables_of_batch[at][1]
  end
  for at, count in ipairs(call('HMGET', IDS, unpack(names))) do
    local size = tables_of_batch[first + at - 1][2]
    local known = open_table(names[at], tonumber(count or 0), last + 1, last + size)
    last = known.last
    tables[first + at - 1] = known
    -- What is remembered of a slot that ends in this batch depends on the order of the votes.
    if known.slot < oldest then must_walk = true end
  end
end

local skipped = {}   -- by their places, the ids that are not to be added to the memory

-- Looks for a table's ids among those that are remembered. They are searched by their ends, for ids of one time begin
-- alike; what is found has to lie at a multiple of 16. This is the only step for each id, and so calls no function of ours.
local function look_up(known)
  local numbers, ends = runs_of(known, known.buckets)
  local keys = {}
  for run, bucket in ipairs(numbers) do keys[run] = known.prefix .. bucket end
  read_buckets(known, numbers, keys)
  local at = known.first
  for run, bucket in ipairs(numbers) do
    local content = known.content[bucket]
    while at <= ends[run] do
      local tail = sub(ids, 16 * at - 3, 16 * at)
      local place = find(content, tail, 1, true)
      while place and (place % 16 ~= 13 or sub(content, place - 12, place + 3) ~= sub(ids, 16 * at - 15, 16 * at)) do
        place = find(content, tail, place + 1, true)
      end
      if place then
        skipped[at] = true
        must_walk = true
      end
      at = at + 1
    end
  end
end

for _, known in ipairs(tables) do
  if known.ids > 0 then look_up(known) end
end

-- Compares ids without Lua's own comparison, which follows the locale of the server.
local function is_less(id, other)
  for at = 1, 36, 12 do
    local high, low = struct.unpack('>I6I6', id, at)
    local their_high, their_low = struct.unpack('>I6I6', other, at)
    if high ~= their_high then return high < their_high end
    if low ~= their_low then return low < their_low end
  end
  return false
end

local function uuid(id)
  local hex = string.gsub(id, '.', function(char) return string.format('%02x', byte(char)) end)
  return table.concat({sub(hex, 1, 8), sub(hex, 9, 12), sub(hex, 13, 16), sub(hex, 17, 20), sub(hex, 21)}, '-')
end

-- A contest: the votes that are new, and of bands and albums the fields that change, with what is added to their lines.
local contests, lines_from = {}, 1
local function cut(lengths)
  local lines = {}
  for at, length in ipairs(lengths) do
    lines[at] = sub(ARGV[9], lines_from, lines_from + length - 1)
    lines_from = lines_from + length
  end
  return lines
end
for at, row in ipairs(contests_of_batch) do
  local bands = cut(row[4])
  contests[at] = {
    name = row[1], new = row[2], band_fields = row[3], bands = bands, album_fields = row[5], albums = cut(row[6]),
  }
end

-- Adds a group to a line by its field.
local function add(lines, field, group, tail)
  local line = lines[field]
  if not line then
    line = {votes = 0, ranks = 0, stamp = math.huge}
    lines[field] = line
  end
  line.votes, line.ranks = line.votes + group.votes, line.ranks + group.ranks
  if group.stamp < line.stamp or (group.stamp == line.stamp and is_less(group.id, line.id)) then
    line.stamp, line.id, line.tail = group.stamp, group.id, tail
  end
end

local function fields_and_lines(lines, written)
  local fields, values = {}, {}
  for field, line in pairs(lines) do
    fields[#fields + 1], values[#values + 1] = field, written(line)
  end
  return fields, values
end

local function band_line(line)
  return struct.pack('>BBI8BI8BI8BB', 150, 207, line.votes, 207, line.ranks, 207, line.stamp, 217, 36)
    .. line.id .. line.tail
end

local function album_line(line)
  return struct.pack('>BBI8BI8BB', 150, 207, line.votes, 207, line.stamp, 217, 36) .. line.id .. line.tail
end

-- Adds up anew, vote by vote in the log's order, and tells which ids are to be remembered.
local function walk()
  local groups_of_batch, id_of, group_of, rank_of, stamp_of = unpack(cmsgpack.unpack(ARGV[10]), 1, 5)
  local groups, table_of, added = {}, {}, {}
  for at = 1, #groups_of_batch do groups[at] = {votes = 0, ranks = 0, stamp = math.huge, least = {}} end
  for _, known in ipairs(tables) do
    for at = known.first, known.last do table_of[at] = known end
  end
  local now = before
  local oldest_now = oldest_at(now)
  for at, stamp in ipairs(stamp_of) do
    if stamp > now then
      now = stamp
      oldest_now = oldest_at(now)
    end
    local id, group = id_of[at] + 1, groups[group_of[at] + 1]
    local is_new = true
    if table_of[id].slot >= oldest_now then
      is_new = not skipped[id] and not added[id]
      if is_new then added[id] = true end
    end
    if is_new then
      group.votes = group.votes + 1
      group.ranks = group.ranks + rank_of[at]
      if stamp < group.stamp then group.stamp, group.least = stamp, {} end
      if stamp == group.stamp then group.least[#group.least + 1] = id end
    end
  end
  for at = 1, #ids / 16 do
    if not added[at] then skipped[at] = true end
  end

  local bands, albums = {}, {}   -- contest -> lines by field
  for at, contest in ipairs(contests) do
    contest.new, bands[at], albums[at] = 0, {}, {}
  end
  for at, row in ipairs(groups_of_batch) do
    local group, contest = groups[at], row[1]
    for _, place in ipairs(group.least) do
      local id = uuid(sub(ids, 16 * place - 15, 16 * place))
      if not group.id or is_less(id, group.id) then group.id = id end
    end
    if group.votes > 0 then
      local band, album, name, title = unpack(row, 2)
      contests[contest].new = contests[contest].new + group.votes
      add(bands[contest], band, group, cmsgpack.pack(band, name))
      add(albums[contest], #band .. ':' .. band .. album, group, cmsgpack.pack(band, album, title))
    end
  end
  for at, contest in ipairs(contests) do
    contest.band_fields, contest.bands = fields_and_lines(bands[at], band_line)
    contest.album_fields, contest.albums = fields_and_lines(albums[at], album_line)
  end
end
if must_walk then
  if ARGV[10] == '' then return {'votes'} end
  walk()
  for _, known in ipairs(tables) do
    for at = known.first, known.last do
      if skipped[at] then known.fresh = known.fresh - 1 end
    end
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

local kept, sizes, forgotten = {}, {}, {}   -- tables that grow; names and numbers of ids, of those and of ended ones
for _, known in ipairs(tables) do
  if known.slot >= oldest and known.fresh > 0 then
    local ids_now = known.ids + known.fresh
    known.grown = buckets_for(ids_now)
    known.split = known.ids > 0 and read_splits(known) or {}
    kept[#kept + 1] = known
    sizes[#sizes + 1], sizes[#sizes + 2] = known.name, ids_now
  end
end
if oldest > oldest_at(before) then
  local counts = call('HGETALL', IDS)
  for at = 1, #counts, 2 do
    if slot_of(counts[at]) < oldest then
      forgotten[#forgotten + 1], forgotten[#forgotten + 2] = counts[at], counts[at + 1]
    end
  end
end

-- Standings -----------------------------------------------------------------------------------------------

-- Lines are MessagePack whose numbers lie at places that do not change, and are added to without being unpacked.
local BAND, ALBUM = '>I8xI8xI8', '>I8xI8'   -- from the third byte: votes, ranks, stamp; votes, stamp
local BAND_STAMP, ALBUM_STAMP = 20, 11      -- where the stamp begins, with its tag; the id comes 11 bytes later

-- Whichever of two lines' votes came first, from its stamp on: stamp, id, spelling.
local function first_of(stored, line, stored_stamp, stamp, from)
  local is_earlier = stamp < stored_stamp
  if stamp == stored_stamp then
    is_earlier = is_less(sub(line, from + 11, from + 46), sub(stored, from + 11, from + 46))
  end
  return sub(is_earlier and line or stored, from)
end

local function merged_band(stored, line)
  local votes, ranks, stamp = struct.unpack(BAND, line, 3)
  local stored_votes, stored_ranks, stored_stamp = struct.unpack(BAND, stored, 3)
  return struct.pack('>BBI8BI8', 150, 207, stored_votes + votes, 207, stored_ranks + ranks)
    .. first_of(stored, line, stored_stamp, stamp, BAND_STAMP)
end

local function merged_album(stored, line)
  local votes, stamp = struct.unpack(ALBUM, line, 3)
  local stored_votes, stored_stamp = struct.unpack(ALBUM, stored, 3)
  return struct.pack('>BBI8', 150, 207, stored_votes + votes)
    .. first_of(stored, line, stored_stamp, stamp, ALBUM_STAMP)
end

local changes = {}   -- {key, {field, value, field, value, …}}
local function read_changes(key, fields, lines, merged)
  local changed = {}
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local stored = call('HMGET', key, unpack(fields, first, last))
    for at = first, last do
      local line, before_it = lines[at], stored[at - first + 1]
      if before_it then line = merged(before_it, line) end
      changed[2 * at - 1], changed[2 * at] = fields[at], line
    end
  end
  if #fields > 0 then changes[#changes + 1] = {key, changed} end
end

local new = {}
for at, contest in ipairs(contests) do
  read_changes(PREFIX .. 'b:' .. contest.name, contest.band_fields, contest.bands, merged_band)
  read_changes(PREFIX .. 'a:' .. contest.name, contest.album_fields, contest.albums, merged_album)
  call('SISMEMBER', CONTESTS, contest.name)
  new[at] = contest.new
end

local function size_of(lines)
  local size = 0
  for _, line in ipairs(lines) do size = size + #line end
  return size
end

-- What takes a reader from the standings before this batch to those after it; nothing where there is too much of it.
local function recent_batch()
  local size = 0
  for _, contest in ipairs(contests) do size = size + size_of(contest.bands) + size_of(contest.albums) end
  if size > BYTES then return nil end
  local parts = {}
  for at, contest in ipairs(contests) do
    parts[at] = '\147' .. cmsgpack.pack(contest.name) .. array_of(contest.bands) .. array_of(contest.albums)
  end
  return '\151' .. cmsgpack.pack(unpack(ARGV, 1, 6)) .. array_of(parts)   -- an array of seven
end
local batch = recent_batch()
call('LLEN', RECENT)

-- Writing -------------------------------------------------------------------------------------------------

call('HSET', STATE, 'dirty', '1')
-- What exists is written down before it exists, so that wiping a dirty partition finds all of it.
in_chunks('HSET', IDS, sizes, 2)
for _, contest in ipairs(contests) do
  if contest.new > 0 then call('SADD', CONTESTS, contest.name) end
end

-- Deals the ids of a bucket out to the buckets that they belong in now; neighbours that stay together go as one. They
-- lie in the order of their coming, so each is looked at: its bucket is worked out here, as a call for each would be dear.
local function split_bucket(known, source, written)
  local content, grown = known.content[source], known.grown
  local power = power_of_two_up_to(grown)
  local modulus, from, into = 2 * power, 1, nil
  written[source] = {}
  for first = 1, #content, 16 do
    local high, middle, low = byte(content, first + 13, first + 15)
    local bucket = (high * 65536 + middle * 256 + low) % modulus
    if bucket >= grown then bucket = bucket - power end
    if bucket ~= into then
      if into then
        local parts = written[into] or {}
        written[into], parts[#parts + 1] = parts, sub(content, from, first - 1)
      end
      from, into = first, bucket
    end
  end
  if into then
    local parts = written[into] or {}
    written[into], parts[#parts + 1] = parts, sub(content, from)
  end
end

-- Adds ids `first` to `last` to parts of a bucket, but for those that are skipped.
local function add_run(parts, first, last)
  if must_walk then
    for at = first, last do
      if skipped[at] then
        if first < at then parts[#parts + 1] = sub(ids, 16 * first - 15, 16 * at - 16) end
        first = at + 1
      end
    end
  end
  if first <= last then parts[#parts + 1] = sub(ids, 16 * first - 15, 16 * last) end
end

local function add_ids(known)
  local prefix, written, added = known.prefix, {}, {}
  for _, source in ipairs(known.split) do
    split_bucket(known, source, written)
  end
  local numbers, ends = runs_of(known, known.grown)
  local first = known.first
  for run, bucket in ipairs(numbers) do
    local parts = written[bucket]
    if not parts then
      parts = {}
      added[bucket] = parts
    end
    add_run(parts, first, ends[run])
    first = ends[run] + 1
  end
  for bucket, parts in pairs(written) do
    call('SET', prefix .. bucket, table.concat(parts))
  end
  for bucket, parts in pairs(added) do
    if #parts > 0 then call('APPEND', prefix .. bucket, table.concat(parts)) end
  end
end

for _, known in ipairs(kept) do add_ids(known) end
forget(forgotten)
for _, change in ipairs(changes) do
  in_chunks('HSET', change[1], change[2], 2)
end
if batch then
  call('RPUSH', RECENT, batch)
  call('LTRIM', RECENT, -BATCHES, -1)
else
  call('DEL', RECENT)
end
call('HSET', STATE, 'topic', ARGV[4], 'passed', ARGV[5], 'epoch', ARGV[6], 'time', string.format('%.0f', time))
call('HDEL', STATE, 'dirty')
return {'applied', new}
