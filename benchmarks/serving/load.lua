-- wrk's script: sends prepared requests in turn and holds every answer against ONNX Runtime's.
--
-- wrk runs one Lua state a thread, and the benchmark gives each thread one connection, so an answer belongs to the
-- request this state made last. Arguments: the folder with 0.http, 1.http, … and expected.bin (FP32, the same number of
-- values for each request), how many requests, how many values, and the text in the body after which the numbers come
-- (empty: they are FP32 at the body's end).

local ffi = require("ffi")
local TOLERANCE = 1e-4
local threads = {}

function setup(thread)
  thread:set("first", #threads)
  table.insert(threads, thread)
end

local requests, expected, count, values, marker, current = {}, nil, 0, 0, "", 0

local function read(path)
  local file = assert(io.open(path, "rb"))
  local data = file:read("*a")
  file:close()
  return data
end

function init(args)
  local folder = args[1]
  count, values, marker = tonumber(args[2]), tonumber(args[3]), args[4] or ""
  for i = 0, count - 1 do
    requests[i] = read(folder .. "/" .. i .. ".http")
  end
  local data = read(folder .. "/expected.bin")
  expected = ffi.new("float[?]", count * values)
  ffi.copy(expected, data, count * values * 4)
  -- Threads start at different images, so that batches hold a mix.
  current = (first * 7) % count
  checked, wrong, example = 0, 0, ""
end

function request()
  current = (current + 1) % count
  return requests[current]
end

local function agrees_binary(body)
  if #body < values * 4 then return false end
  local got = ffi.cast("const float*", ffi.cast("const char*", body) + #body - values * 4)
  for i = 0, values - 1 do
    -- Written so that a NaN does not agree.
    if not (math.abs(got[i] - expected[current * values + i]) <= TOLERANCE) then return false end
  end
  return true
end

local function agrees_text(body)
  local _, start = string.find(body, marker, 1, true)
  if not start then return false end
  local i = 0
  for number in string.gmatch(string.sub(body, start + 1), "[%d%.eE+-]+") do
    if not (math.abs(tonumber(number) - expected[current * values + i]) <= TOLERANCE) then return false end
    i = i + 1
    if i == values then return true end
  end
  return false
end

function response(status, headers, body)
  checked = checked + 1
  local right = false
  if status == 200 then
    if marker == "" then right = agrees_binary(body) else right = agrees_text(body) end
  end
  if not right then
    wrong = wrong + 1
    if example == "" then example = status .. " " .. string.sub(body, 1, 300) end
  end
end

local function quoted(text)
  return '"' .. string.gsub(text, '[%c"\\\128-\255]', function(c) return string.format("\\u%04x", string.byte(c)) end) .. '"'
end

function done(summary, latency, _)
  local checked, wrong, example = 0, 0, ""
  for _, thread in ipairs(threads) do
    checked = checked + thread:get("checked")
    wrong = wrong + thread:get("wrong")
    if example == "" then example = thread:get("example") end
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "checked": %d, "wrong": %d, "example": %s, '
    .. '"connection_errors": %d, "timeouts": %d, "p50": %d, "p90": %d, "p99": %d, "longest": %d}\n',
    summary.requests, summary.duration, checked, wrong, quoted(example),
    errors.connect + errors.read + errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
