// The steps of consumer groups that have to be atomic and are more than one command. As in
// scripts.h, each is one EVAL; errors of commands are handed on as they are (pcall), since servers
// before Redis 7 would wrap them.
#pragma once

namespace agx::redis {

// What is larger than an entry that can be read (kMostEntry) is taken without its fields.
#define AGX_SIZE_OF_ENTRY                                  \
  "local function too_large(fields)\n"                     \
  "  local size = 0\n"                                     \
  "  for i = 1, #fields do size = size + #fields[i] end\n" \
  "  return size > 68157440\n"                             \
  "end\n"

// Looks at what is pending and takes it. Deliveries are counted here, for XCLAIM would count those
// too whose reply was lost. KEYS: stream. ARGV: group, consumer, own / same / claim / claim same, least
// idle ms, low end, count. Gives entries, how often each was delivered, the last that was looked at, how
// many are not in the stream any more, and how many were looked at.
inline constexpr char kTake[] = AGX_SIZE_OF_ENTRY R"(
if redis.replicate_commands then redis.replicate_commands() end
local pending
if ARGV[3] == 'claim' or ARGV[3] == 'claim same' then
  pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[4], ARGV[5], '+', ARGV[6])
else
  pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[5], '+', ARGV[6], ARGV[2])
end
if pending.err then return pending end
local entries, attempts, last, gone = {}, {}, '0-0', 0
for i = 1, #pending do
  local count = pending[i][4]
  last = pending[i][1]
  local entry = redis.call('XRANGE', KEYS[1], last, last)[1]
  if entry then
    if ARGV[3] == 'own' or ARGV[3] == 'claim' then count = count + 1 end
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, last, 'RETRYCOUNT', count, 'JUSTID')
    if too_large(entry[2]) then entry[2] = {} end
    entries[#entries + 1] = entry
    attempts[#attempts + 1] = count
  else
    redis.call('XACK', KEYS[1], ARGV[1], last)
    gone = gone + 1
  end
end
return {entries, attempts, last, gone, #pending}
)";

// The same for ids, in their order. KEYS: stream. ARGV: group, consumer, least idle ms, ids…
inline constexpr char kClaim[] = AGX_SIZE_OF_ENTRY R"(
if redis.replicate_commands then redis.replicate_commands() end
local entries, attempts, last, gone = {}, {}, '0-0', 0
for i = 4, #ARGV do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[i], ARGV[i], 1)
  if pending.err then return pending end
  if pending[1] then
    local count = pending[1][4] + 1
    last = ARGV[i]
    local entry = redis.call('XRANGE', KEYS[1], last, last)[1]
    if entry then
      redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, last, 'RETRYCOUNT', count, 'JUSTID')
      if too_large(entry[2]) then entry[2] = {} end
      entries[#entries + 1] = entry
      attempts[#attempts + 1] = count
    else
      redis.call('XACK', KEYS[1], ARGV[1], last)
      gone = gone + 1
    end
  end
end
return {entries, attempts, last, gone, #ARGV - 3}
)";

// KEYS: stream. ARGV: group, consumer, idle ms, then for each an id and how often it is to count as
// delivered, or 0. Gives 1 for each that is the consumer's, else 0.
inline constexpr char kHold[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local own = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
  if pending.err then return pending end
  own[#own + 1] = #pending
  if pending[1] then
    local count = ARGV[i + 1] == '-1' and pending[1][4] or ARGV[i + 1]
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
  end
end
return own
)";

// A command takes no more arguments from a script than about 8,000: an entry of thousands of fields
// dies without them, as does one that is too large. KEYS: stream, dead letters. ARGV: group, consumer, id, fields to add…
inline constexpr char kBury[] = AGX_SIZE_OF_ENTRY R"(
if redis.replicate_commands then redis.replicate_commands() end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if pending.err then return pending end
if not pending[1] then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if entry then
  local fields = entry[2]
  if #fields > 7000 or too_large(fields) then fields = {'original_fields_left_out', #fields / 2} end
  for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
  local added = redis.pcall('XADD', KEYS[2], '*', unpack(fields))
  if type(added) == 'table' and added.err then return added end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 1
)";

// Of each name that is to go the last goes: that is the one which was added. KEYS: dead letters,
// stream, its checkpoints. ARGV: id, name and value of the proof, stream's expiry ms or 0, how many names are to go,
// these, fields to add…
inline constexpr char kRevive[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local found = redis.pcall('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if found.err then return found end
if not found[1] then return 'absent' end
local fields, going, proof, bare = found[1][2], {}, nil, false
for i = 6, 5 + ARGV[5] do going[ARGV[i]] = true end
local kept = {}
for i = #fields - 1, 1, -2 do
  if fields[i] == ARGV[2] and not proof then proof = fields[i + 1] end
  if i == 1 and fields[i] == 'original_fields_left_out' then bare = true end
  if going[fields[i]] then
    going[fields[i]] = nil
  else
    kept[#kept + 1] = i
  end
end
if proof ~= ARGV[3] then return 'foreign' end
if bare then return 'bare' end
local entry = {}
for i = #kept, 1, -1 do
  entry[#entry + 1] = fields[kept[i]]
  entry[#entry + 1] = fields[kept[i] + 1]
end
for i = 6 + ARGV[5], #ARGV do entry[#entry + 1] = ARGV[i] end
local id = redis.pcall('XADD', KEYS[2], '*', unpack(entry))
if type(id) == 'table' and id.err then return id end
redis.call('XDEL', KEYS[1], ARGV[1])
if ARGV[4] ~= '0' then
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  if redis.call('TYPE', KEYS[3]).ok == 'hash' then redis.call('PEXPIRE', KEYS[3], ARGV[4]) end
end
return id
)";

// KEYS: stream. ARGV: group, where it begins, expiry ms of a stream that is made.
inline constexpr char kCreateGroupExpiring[] = R"(
local absent = redis.call('EXISTS', KEYS[1]) == 0
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if absent and not made.err then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return made
)";

// KEYS: stream. ARGV: group, consumer. -1: it has entries, and stays.
inline constexpr char kDeleteIdleConsumer[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if pending.err then return pending end
if pending[1] then return -1 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
)";

// How many entries come after an id; up to about so many. KEYS: stream. ARGV: id, most.
inline constexpr char kCountAfter[] = R"(
local count, after = 0, ARGV[1]
while count < tonumber(ARGV[2]) do
  local entries = redis.pcall('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 1000)
  if entries.err then return entries end
  count = count + #entries
  if #entries < 1000 then break end
  after = entries[#entries][1]
end
return count
)";

}  // namespace agx::redis
