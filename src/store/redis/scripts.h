// The steps that have to be atomic and are more than one command. Each is one EVAL.
//
// replicate_commands is what Redis 6.2 needs before a script may write after it has called XADD,
// whose id it did not choose; later servers always do it.
#pragma once

namespace agx::redis {

// Whatever makes a stream expire does so to its checkpoints too. A stream of another session may have
// their key: it is left alone.

// KEYS: stream, live flag, checkpoints. ARGV: token, lease ms, stream's expiry ms or 0, begin / take over /
// continue / resume, 'keep', 'list' (which is kept) or '', fields of begin if there is one… The new entry comes first: a server that is
// out of memory refuses it before anything was dropped.
inline constexpr char kStart[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local kind = redis.call('TYPE', KEYS[1]).ok
local wanted = ARGV[5] == 'list' and 'list' or 'stream'
if kind ~= 'none' and kind ~= wanted then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local flag_kind = redis.call('TYPE', KEYS[2]).ok
if flag_kind ~= 'none' and flag_kind ~= 'string' then return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. flag_kind) end
local flag = redis.call('GET', KEYS[2])
local mode = ARGV[4]
if flag and flag ~= ARGV[1] and mode ~= 'take over' and mode ~= 'continue' then return 'busy' end
local outcome = 'taken over'
local fields = {}
for i = 6, #ARGV do fields[i - 5] = ARGV[i] end
if kind == 'none' or (not flag and mode ~= 'resume' and mode ~= 'continue') then
  outcome = 'started'
  if #fields > 0 then
    local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
    redis.call('XTRIM', KEYS[1], 'MINID', id)
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local marks = redis.call('TYPE', KEYS[3]).ok == 'hash'
if marks and kind == 'none' and mode == 'resume' then redis.call('DEL', KEYS[3]) end
local kept = ARGV[5] ~= ''
if outcome == 'started' and #fields == 0 and kind ~= 'none' and not kept then redis.call('XTRIM', KEYS[1], 'MAXLEN', 0) end
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  if marks then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
elseif not kept then
  redis.call('PERSIST', KEYS[1])
  if marks then redis.call('PERSIST', KEYS[3]) end
end
return outcome
)";

// KEYS: stream, live flag, checkpoints. ARGV: token or '', grace ms, 'keep' or 'list', 1 to leave a cancelled one alone,
// 1 if it cannot be absent, the channel on which the stop of a stream that may get no `end` is told, the database, the number
// of marks of an ended stream, their names and values; then for each entry to add, of which `end` is the last, the number of
// its names and values, and these.
inline constexpr char kStop[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local flag_kind = redis.call('TYPE', KEYS[2]).ok
if flag_kind ~= 'none' and flag_kind ~= 'string' then return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. flag_kind) end
local flag = redis.call('GET', KEYS[2])
if flag and ARGV[1] ~= '' and flag ~= ARGV[1] then return 'taken over' end
local kind = redis.call('TYPE', KEYS[1]).ok
local kept = not tonumber(ARGV[2])
if not flag and ARGV[4] == '0' and (kept or kind == 'none') then return 'absent' end
local wanted = ARGV[2] == 'list' and 'list' or 'stream'
if kind ~= 'none' and kind ~= wanted then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local at = 8 + 2 * tonumber(ARGV[7])
local last = kind == 'stream' and redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local ended = false
for mark = 8, at - 1, 2 do
  for i = 1, last and #last[2] or 0, 2 do
    if last[2][i] == ARGV[mark] then
      local value = last[2][i + 1]
      ended = ended or value == ARGV[mark + 1] or (ARGV[mark + 1] == '' and value ~= '')
      break
    end
  end
end
if not flag and not ended and ARGV[3] == '1' then return 'canceled' end
while at <= #ARGV do
  local fields = {}
  for i = 1, tonumber(ARGV[at]) do fields[i] = ARGV[at + i] end
  at = at + #fields + 1
  if not ended and #fields > 0 then redis.call('XADD', KEYS[1], '*', unpack(fields)) end
end
redis.call('DEL', KEYS[2])
if kept then
  redis.pcall('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. KEYS[1])
  return 'stopped'
end
local grace = tonumber(ARGV[2])
if flag and ARGV[1] == '' then grace = math.max(grace, 1000) end
redis.call('PEXPIRE', KEYS[1], grace)
if redis.call('TYPE', KEYS[3]).ok == 'hash' then redis.call('PEXPIRE', KEYS[3], grace) end
return 'stopped'
)";

// KEYS: stream, checkpoints. ARGV: expiry ms, about the most entries or 0, 1 if the stream is to be there, fields…
// Gives nothing if it is not.
inline constexpr char kAddExpiring[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[1]) == 0 then return false end
local id
if ARGV[2] == '0' then
  id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
else
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 4))
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if redis.call('TYPE', KEYS[2]).ok == 'hash' then redis.call('PEXPIRE', KEYS[2], ARGV[1]) end
return id
)";

// KEYS: stream, live flag, checkpoints. ARGV: token, lease ms, stream's expiry ms or 0.
inline constexpr char kRenew[] = R"(
local flag = redis.call('GET', KEYS[2])
if not flag then
  if redis.call('EXISTS', KEYS[1]) == 1 then return 'absent' else return 'lost' end
end
if flag ~= ARGV[1] then return 'other' end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if ARGV[3] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  if redis.call('TYPE', KEYS[3]).ok == 'hash' then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
end
return 'own'
)";

// KEYS: live flag. ARGV: channel. Whom it concerns hears of it on the channel half a round trip
// after it happened, and from the tracking of the key in any case; so it does not matter if the
// user may not publish.
inline constexpr char kCancel[] = R"(
local token = redis.call('GETDEL', KEYS[1])
if not token then return 0 end
redis.pcall('PUBLISH', ARGV[1], token .. ' ' .. KEYS[1])
return 1
)";

// KEYS: list, and its live flag if one of the two is to be there. ARGV: channel, tag, element. Gives the
// list's length, or 0 if neither is. Where the user may not publish, nothing is added, since ag2's own
// processes would not hear of it.
inline constexpr char kAddElement[] = R"(
if KEYS[2] and redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return 0 end
local length = redis.call('RPUSH', KEYS[1], ARGV[3])
local published = redis.pcall('PUBLISH', ARGV[1], ARGV[2] .. ARGV[3])
if type(published) == 'table' and published.err then
  redis.call('RPOP', KEYS[1])
  return published
end
return length
)";

// KEYS: stream or list, checkpoints, and for those of which one is to be there: the stream again, or the list's
// live flag. ARGV: what the checkpoint is to be, and is then, 'stream' or 'list', about the most entries
// or 0, expiry ms or 0, channel, tag, the checkpoint's name; then for each entry the number of its names and values, and these. Gives 0
// for a conflict, 2 if that was done before, -1 if what is to be there is not.
inline constexpr char kAddChecked[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= ARGV[3] then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local marks_kind = redis.call('TYPE', KEYS[2]).ok
if marks_kind ~= 'none' and marks_kind ~= 'hash' then return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. marks_kind) end
local reached = redis.call('HGET', KEYS[2], ARGV[8]) or ''
if reached == ARGV[2] then return 2 end
if KEYS[3] and redis.call('EXISTS', KEYS[1], KEYS[3]) == 0 then
  redis.call('DEL', KEYS[2])
  return -1
end
if reached ~= ARGV[1] then return 0 end
local at = 9
while at <= #ARGV do
  local fields = {}
  for i = 1, tonumber(ARGV[at]) do fields[i] = ARGV[at + i] end
  at = at + #fields + 1
  if ARGV[3] == 'list' then
    redis.call('RPUSH', KEYS[1], fields[2])
    local published = redis.pcall('PUBLISH', ARGV[6], ARGV[7] .. fields[2])
    if type(published) == 'table' and published.err then
      redis.call('RPOP', KEYS[1])  -- refused for one is refused for all: this is the first
      return published
    end
  elseif ARGV[4] == '0' then
    redis.call('XADD', KEYS[1], '*', unpack(fields))
  else
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', unpack(fields))
  end
end
if ARGV[5] ~= '0' and at > 9 then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
redis.call('HSET', KEYS[2], ARGV[8], ARGV[2])
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then
  redis.call('PEXPIRE', KEYS[2], left)
elseif left == -1 then
  redis.call('PERSIST', KEYS[2])
end
return 1
)";

// KEYS: stream or list, checkpoints, and for those of which one is to be there: the stream again, or the list's live flag.
// ARGV: 'stream' or 'list', expiry ms or 0; then for each entry the number of its names and values, and these. What is new comes
// first: a server that is out of memory refuses it before anything was dropped. Gives how many went, or -1 if what
// is to be there is not.
inline constexpr char kReplace[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= ARGV[1] then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
if KEYS[3] and redis.call('EXISTS', KEYS[1], KEYS[3]) == 0 then return -1 end
local list = ARGV[1] == 'list'
local old = redis.call(list and 'LLEN' or 'XLEN', KEYS[1])
local first
local at = 3
while at <= #ARGV do
  local fields = {}
  for i = 1, tonumber(ARGV[at]) do fields[i] = ARGV[at + i] end
  at = at + #fields + 1
  if list then
    redis.call('RPUSH', KEYS[1], fields[2])
  else
    local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
    first = first or id
  end
end
if list then
  if old > 0 then redis.call('LTRIM', KEYS[1], old, -1) end
elseif first then
  redis.call('XTRIM', KEYS[1], 'MINID', first)
else
  redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
end
if first and ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  if redis.call('TYPE', KEYS[2]).ok == 'hash' then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
end
return old
)";

// KEYS: list. Gives its length, and its first and last element.
inline constexpr char kListEnds[] = R"(
local length = redis.call('LLEN', KEYS[1])
if length == 0 then return {0} end
return {length, redis.call('LINDEX', KEYS[1], 0), redis.call('LINDEX', KEYS[1], -1)}
)";

// KEYS: stream, live flag, conversation, checkpoints. ARGV: token or '', channels of cancels and of stops, database,
// 'stream' or 'list', fields of `end`… Where the flag is another's, `end`, if there is one, stays for a second, and its producer is told as by a
// cancel.
inline constexpr char kDelete[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
for i, wanted in ipairs({ARGV[5], 'string', 'string'}) do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= wanted then return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind) end
end
local marks = redis.call('TYPE', KEYS[4]).ok == 'hash' and redis.call('DEL', KEYS[4]) or 0
local flag = redis.call('GET', KEYS[2])
if not flag or flag == ARGV[1] then
  if redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) + marks == 0 then return 0 end
  redis.pcall('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. KEYS[1])
  return 1
end
if #ARGV > 5 then
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, 6))
  redis.call('XTRIM', KEYS[1], 'MAXLEN', 1)
  redis.call('PEXPIRE', KEYS[1], 1000)
else
  redis.call('DEL', KEYS[1])
end
redis.call('DEL', KEYS[2], KEYS[3])
redis.pcall('PUBLISH', ARGV[2], flag .. ' ' .. KEYS[2])
redis.pcall('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. KEYS[1])
return 1
)";

// A text's version is its SHA-1: so what another program has SET is noticed as well. KEYS: text.
inline constexpr char kGetText[] = R"(
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {} end
if kind ~= 'string' then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local text = redis.call('GET', KEYS[1])
return {text, redis.sha1hex(text)}
)";

// KEYS: text. ARGV: version that is expected or '', new text, 'again' if it may be there already.
// Gives the new version, or '' for a conflict.
inline constexpr char kPutText[] = R"(
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'string' then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local text = redis.call('GET', KEYS[1])
local version = text and redis.sha1hex(text) or ''
local new = redis.sha1hex(ARGV[2])
if version == new and ARGV[3] == 'again' then return new end
if version ~= ARGV[1] then return '' end
redis.call('SET', KEYS[1], ARGV[2])
return new
)";

// KEYS: live flag. ARGV: lease ms.
inline constexpr char kExtend[] = R"(
local ttl = redis.call('PTTL', KEYS[1])
if ttl == -2 then return 0 end
if ttl ~= -1 and ttl < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
)";

}  // namespace agx::redis
