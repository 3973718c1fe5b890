-- How a partition lies in Redis; put in front of each of the scripts.
--
--   aplauso:{p3}:state       hash: topic, passed, epoch (the position), time (the latest stamp), dirty
--   aplauso:{p3}:absent      never there: naming it makes a slot on the move answer TRYAGAIN, on both of its nodes
--   aplauso:{p3}:ids         hash: table of remembered ids -> how many; "k" for those of keys, or, for anonymous ones, their
--                            ten-minute slot and the quarter of a second in it, as "2976310.019ab3c4-d5"
--   aplauso:{p3}:i:k:17      string: bucket 17 of table k, its ids of 16 bytes one after the other
--   aplauso:{p3}:contests    set: ids of contests
--   aplauso:{p3}:b:<contest> hash: band -> MessagePack of [votes, rank_sum, cast_at, id, band, name]
--   aplauso:{p3}:a:<contest> hash: band and album -> MessagePack of [votes, cast_at, id, band, album, title]
--   aplauso:{p3}:recent      list: the latest batches, each from where the one in front of it ends; MessagePack of
--                            [topic, passed, epoch, the same behind the batch, contests], each of these [contest, bands,
--                            albums]: what was added to their lines, in the same form
--
-- Numbers of a line are of eight bytes each, whatever their size: a script adds to them in their places (docs/adr/0013).
-- Tables grow by linear hashing (Litwin, 1980): the number of buckets follows from the number of ids alone.
--
-- The first layout had more buckets and called `passed` `offset`, the second had one table for each slot and called it
-- `next`, the third had numbers of any size in a line and called it `upto`: no layout finds a position in another, and a
-- partition of counts without a position is wiped and counted anew.

local call = redis.call
local STATE = KEYS[1]
local PREFIX = string.sub(STATE, 1, -6)
local IDS, CONTESTS, RECENT = PREFIX .. 'ids', PREFIX .. 'contests', PREFIX .. 'recent'
local LOAD = 100     -- ids a bucket, on average: see docs/adr/0003
local FIRST_LOAD = 40   -- that of the first layout
local CHUNK = 1000   -- arguments of one command: Lua's unpack ends at 8,000

local function buckets_for(ids, load)
  return math.max(1, math.ceil(ids / (load or LOAD)))
end

local function bucket_key(table_name, bucket)
  return PREFIX .. 'i:' .. table_name .. ':' .. bucket
end

-- MessagePack of values that are MessagePack: an array is a header with them behind it.
local function array_of(values)
  return '\221' .. struct.pack('>I4', #values) .. table.concat(values)
end

-- Runs a command with many arguments in several calls; `width` arguments belong together.
local function in_chunks(command, key, arguments, width)
  local step = CHUNK * (width or 1)
  for first = 1, #arguments, step do
    call(command, key, unpack(arguments, first, math.min(first + step - 1, #arguments)))
  end
end

-- Runs a command on any number of keys, in several calls.
local function on_keys(command, keys)
  for first = 1, #keys, CHUNK do
    call(command, unpack(keys, first, math.min(first + CHUNK - 1, #keys)))
  end
end

-- Forgets tables; `counts` has their names, each with its number of ids behind it.
local function forget(counts, load)
  local names, keys = {}, {}
  for at = 1, #counts, 2 do
    names[#names + 1] = counts[at]
    for bucket = 0, buckets_for(tonumber(counts[at + 1]), load) - 1 do
      keys[#keys + 1] = bucket_key(counts[at], bucket)
    end
  end
  on_keys('UNLINK', keys)
  in_chunks('HDEL', IDS, names)
end
