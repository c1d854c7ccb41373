// The demo's page: one WebTransport session, and what can be done with it.

import {DotGrid, Lanes, LineChart} from "./charts.js";
import {diagnosis, gone, obstacle} from "./help.js";

const $ = (id) => document.getElementById(id);
const encoder = new TextEncoder(), decoder = new TextDecoder();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const PING_INTERVAL = 100, LOST_AFTER = 1000, TRANSFER_MS = 5000, CHUNK = 65536, BLOCK = 16 << 20;

// Words ---------------------------------------------------------------------------------------

const digits = (value) => (value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3));

function scaled(value, units, base = 1000) {
  let at = 0;
  while (Math.abs(value) >= base && at < units.length - 1) { value /= base; at++; }
  return `${digits(value)} ${units[at]}`;
}
const bytesText = (count) => scaled(count, ["B", "kB", "MB", "GB", "TB"]);
const rateText = (bits) => scaled(bits, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
const timeText = (ms) => (ms >= 1000 ? `${digits(ms / 1000)} s` : ms >= 1 ? `${digits(ms)} ms` : ms > 0 ? `${digits(ms * 1000)} µs` : "0 ms");
const countText = (count) => count.toLocaleString("en");

function log(text, bad = false) {
  const item = document.createElement("li"), time = document.createElement("time"), what = document.createElement("span");
  time.textContent = new Date().toLocaleTimeString("en-GB");
  what.textContent = text;
  if (bad) what.className = "bad";
  item.append(time, what);
  $("log").prepend(item);
  while ($("log").children.length > 60) $("log").lastChild.remove();
}

// The session ---------------------------------------------------------------------------------

const rttChart = new LineChart($("rtt-chart"), {series: ["bi"], least: 1, format: timeText, outliers: true});
const throughputChart = new LineChart($("throughput-chart"), {series: ["up", "down"], least: 1e6, format: rateText});
const dots = new DotGrid($("datagram-grid"));
const lanes = new Lanes($("lanes"));

let session = null;     // the open one
let ours = false;       // whether this page closed it
let attempts = 0;

function show(state, text) {
  $("state").dataset.state = state;
  $("state-text").textContent = text;
  const open = state === "open";
  for (const button of document.querySelectorAll("[data-needs-session]")) button.disabled = !open;
  $("connect").disabled = state === "connecting";
  $("connect").textContent = open ? "Disconnect" : "Connect";
  $("connect").classList.toggle("primary", !open);
}

function trouble(what) {
  $("trouble").hidden = !what;
  if (!what) return;
  $("trouble-title").textContent = what.title;
  $("trouble-text").textContent = what.text;
  $("trouble-error").textContent = what.told ? `The browser said: ${what.told}` : "";
  $("trouble-steps").replaceChildren(...what.steps.map((step) => {
    const item = document.createElement("li");
    item.textContent = step;
    return item;
  }));
}

async function readStatus() {
  try {
    const response = await fetch("status.json", {cache: "no-store", signal: AbortSignal.timeout(3000)});
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

function describe(status) {
  const left = status.expires - Date.now() / 1000;
  const days = Math.max(0, Math.floor(left / 86400)), hours = Math.max(0, Math.floor(left / 3600) % 24);
  $("endpoint").textContent = status.url;
  $("endpoint").title = `certificate ${status.hash}`;
  $("expires").textContent = `in ${days} days and ${hours} hours`;
  $("version").textContent = status.version === "unknown" ? "" : status.version;
  const {port} = new URL(status.url);
  for (const element of document.querySelectorAll(".port")) element.textContent = `${port}:${port}`;
}

async function connect() {
  show("connecting", "Connecting");
  trouble(null);
  const status = await readStatus();
  if (status) describe(status);
  const hopeless = obstacle(status) ?? (status ? null : gone);
  if (hopeless) {
    show("failed", "Not connected");
    trouble(hopeless);
    return;
  }
  // The server's view of the attempt tells what failed: did anything arrive at all?
  let seen = "nothing", watching = true;
  const watch = (async () => {
    while (watching) {
      const now = await readStatus();
      if (now && now.accepted + now.rejected > status.accepted + status.rejected) seen = "session";
      else if (now && now.connections > status.connections && seen === "nothing") seen = "connection";
      await sleep(150);
    }
  })();
  const began = performance.now();
  attempts++;
  let opened;
  try {
    const value = Uint8Array.from(status.hash.match(/../g), (pair) => parseInt(pair, 16));
    opened = new WebTransport(status.url, {serverCertificateHashes: [{algorithm: "sha-256", value}]});
    opened.closed.catch(() => {});
    await opened.ready;
  } catch (error) {
    watching = false;
    await watch;
    show("failed", "Not connected");
    trouble((await readStatus()) ? diagnosis(error, seen, attempts, new URL(status.url).port) : gone);
    log(`no session: ${error.message}`, true);
    return;
  }
  watching = false;
  attempts = 0;
  session = opened;
  ours = false;
  show("open", "Connected");
  log(`session open after ${timeText(performance.now() - began)}`);
  run(opened);
}

function run(current) {
  current.closed.then(
    ({closeCode, reason}) => ended(current, `${ours ? "closed here" : "the server closed"}: code ${closeCode}${reason ? `, “${reason}”` : ""}`),
    (error) => ended(current, `connection lost: ${error.message}`, true),
  );
  const quietly = (task) => task.catch((error) => { if (session === current) log(error.message, true); });
  quietly(pingLoop(current));
  quietly(readDatagrams(current));
  quietly(acceptUni(current));
  quietly(acceptBi(current));
  quietly(streamLoop(current));
}

async function ended(current, text, bad = false) {
  if (session !== current) return;
  session = null;
  log(text, bad);
  rttChart.add(0, null);
  pending.clear();
  show(bad ? "failed" : "idle", bad ? "Connection lost" : "Closed");
  if (bad && !(await readStatus())) trouble(gone);
}

// Datagrams: eight bytes with a number, sent back by the server -----------------------------------

const pending = new Map();
const rtts = [];
const count = {sent: 0, back: 0, lost: 0};
let datagramNumber = 0, datagramWriter = null;

function sendDatagram() {
  const data = new Uint8Array(8), number = ++datagramNumber;
  new DataView(data.buffer).setUint32(4, number);
  const item = {state: "sent"};
  dots.add(item);
  pending.set(number, {item, at: performance.now()});
  count.sent++;
  // Not awaited where it is a burst: what a browser drops then is worth seeing.
  return datagramWriter.write(data);
}

async function pingLoop(current) {
  const {datagrams} = current;
  datagramWriter = (datagrams.writable ?? datagrams.createWritable()).getWriter();
  while (session === current) {
    await datagramWriter.ready;
    sendDatagram().catch(() => {});
    const overdue = performance.now() - LOST_AFTER;
    for (const [number, {item, at}] of pending) {
      if (at > overdue) break;
      item.state = "lost";
      pending.delete(number);
      count.lost++;
      rttChart.add(0, null);
    }
    showDatagrams();
    await sleep(PING_INTERVAL);
  }
}

async function readDatagrams(current) {
  const reader = current.datagrams.readable.getReader();
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const now = performance.now();
    if (value.length !== 8) continue;
    const number = new DataView(value.buffer, value.byteOffset).getUint32(4), sent = pending.get(number);
    if (!sent) continue;
    pending.delete(number);
    sent.item.state = "back";
    count.back++;
    if (sent.item.burst) continue;
    rtts.push(now - sent.at);
    if (rtts.length > 300) rtts.shift();
    rttChart.add(0, now - sent.at);
  }
}

let datagramsShown = 0;
function showDatagrams() {
  for (const [name, value] of Object.entries(count)) $(`datagrams-${name}`).textContent = countText(value);
  if (performance.now() - datagramsShown < 450 || !rtts.length) return;
  datagramsShown = performance.now();
  const sorted = rtts.toSorted((a, b) => a - b), at = (part) => timeText(sorted[Math.floor((sorted.length - 1) * part)]);
  $("rtt-now").textContent = timeText(rtts.at(-1));
  $("rtt-median").textContent = at(0.5);
  $("rtt-p95").textContent = at(0.95);
  rttChart.describe(`Round-trip time of the last 30 seconds: median ${at(0.5)}, 95 % below ${at(0.95)}`);
  dots.describe(`Datagrams: ${count.sent} sent, ${count.back} back, ${count.lost} lost`);
}

$("burst").addEventListener("click", () => {
  const before = datagramNumber, {lost} = count;
  for (let index = 0; index < 50; index++) {
    sendDatagram().catch(() => {});
    pending.get(datagramNumber).item.burst = true;
  }
  log("50 datagrams in one go; browsers keep a short queue and drop the rest");
  setTimeout(() => log(`of datagrams ${before + 1} to ${before + 50}, about ${Math.min(50, count.lost - lost)} got lost`), LOST_AFTER + 400);
});

// Streams ---------------------------------------------------------------------------------------

let streamNumber = 0;

class Row {
  constructor(kind, words) {
    this.bar = {kind, from: performance.now(), to: null, reset: false};
    lanes.add(this.bar);
    this.bytes = 0;
    this.element = document.createElement("tr");
    this.cells = Array.from({length: 5}, (_, index) => {
      const cell = document.createElement("td");
      if (index > 2) cell.className = "right";
      return cell;
    });
    this.element.append(...this.cells);
    this.cells[0].textContent = ++streamNumber;
    this.cells[1].textContent = words;
    this.cells[2].textContent = "open";
    $("streams").prepend(this.element);
    while ($("streams").children.length > 40) $("streams").lastChild.remove();
  }

  end(text, reset = false) {
    this.bar.to = performance.now();
    this.bar.reset = reset;
    this.element.classList.toggle("reset", reset);
    this.cells[2].textContent = text;
    this.cells[3].textContent = bytesText(this.bytes);
    this.cells[4].textContent = timeText(this.bar.to - this.bar.from);
  }

  fail(error) {
    const code = error.streamErrorCode ?? null;
    this.end(code === null ? "ended by the session" : `reset, code ${code}`, true);
  }
}

async function readAll(readable, onChunk) {
  const reader = readable.getReader();
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    onChunk(value);
  }
}

function payload(size) {
  const data = new Uint8Array(size);
  for (let at = 0; at < size; at += CHUNK) crypto.getRandomValues(data.subarray(at, Math.min(size, at + CHUNK)));
  return data;
}

// Opens a stream, writes a line and data, and gives what comes back to `onChunk`.
async function ask(current, line, data = null, onChunk = () => {}) {
  const stream = await current.createBidirectionalStream();
  const writer = stream.writable.getWriter();
  const writing = (async () => {
    await writer.write(encoder.encode(`${line}\n`));
    if (data) await writer.write(data);
    await writer.close();
  })();
  writing.catch(() => {});
  await readAll(stream.readable, onChunk);
  await writing;
}

async function echoStream(current) {
  const row = new Row("bi", "both ways, echo"), data = payload(1000 + Math.floor(Math.random() * 60000));
  try {
    await ask(current, "echo", data, (chunk) => { row.bytes += chunk.length; });
    row.end(row.bytes === data.length ? "finished" : "damaged", row.bytes !== data.length);
  } catch (error) {
    row.fail(error);
  }
}

async function uniStream(current) {
  const row = new Row("uni", "one way, to the server"), data = payload(1000 + Math.floor(Math.random() * 30000));
  try {
    const writer = (await current.createUnidirectionalStream()).getWriter();
    data[0] = 0;  // not a brace: that is how the server's numbers begin
    await writer.write(data);
    await writer.close();
    row.bytes = data.length;
    row.end("finished");
  } catch (error) {
    row.fail(error);
  }
}

async function resetStream(current) {
  const row = new Row("bi", "both ways, to be reset");
  try {
    const stream = await current.createBidirectionalStream();
    const writer = stream.writable.getWriter();
    await writer.write(encoder.encode("reset 42\n"));
    // Firefox gives no code to a read that waits while the reset comes.
    await sleep(150);
    await readAll(stream.readable, (chunk) => { row.bytes += chunk.length; });
    row.end("finished");
  } catch (error) {
    row.fail(error);
    log(`the server reset a stream with code ${error.streamErrorCode ?? "unknown"}`);
  }
}

async function acceptBi(current) {
  await readAll(current.incomingBidirectionalStreams, async (stream) => {
    const row = new Row("server", "both ways, from the server");
    try {
      const closing = stream.writable.getWriter().close();
      await readAll(stream.readable, (chunk) => { row.bytes += chunk.length; });
      await closing;
      row.end("finished");
    } catch (error) {
      row.fail(error);
    }
  });
}

async function acceptUni(current) {
  await readAll(current.incomingUnidirectionalStreams, async (readable) => {
    let row = null, text = null, bytes = 0;
    const began = performance.now();
    try {
      await readAll(readable, (chunk) => {
        // Told apart by their first byte: the server's numbers are JSON, what comes back is not.
        if (text === null && !row) {
          if (chunk[0] === 0x7b) text = "";
          else {
            row = new Row("server", "one way, from the server");
            row.bar.from = began;
          }
        }
        if (row) row.bytes = (bytes += chunk.length);
        else text = showServer(text + decoder.decode(chunk, {stream: true}));
      });
      row?.end("finished");
    } catch (error) {
      row?.fail(error);
    }
  });
}

const serverShown = {
  "server-rtt": ({smoothed_rtt}) => timeText(smoothed_rtt * 1000),
  "server-min-rtt": ({min_rtt}) => timeText(min_rtt * 1000),
  "server-cwnd": ({congestion_window}) => bytesText(congestion_window),
  "server-sent": ({packets_sent}) => countText(packets_sent),
  "server-received": ({packets_received}) => countText(packets_received),
  "server-lost": ({packets_lost}) => countText(packets_lost),
  "server-bytes-sent": ({bytes_sent}) => bytesText(bytes_sent),
  "server-bytes-received": ({bytes_received}) => bytesText(bytes_received),
};

function showServer(text) {
  const lines = text.split("\n"), rest = lines.pop();
  if (lines.length) {
    const stats = JSON.parse(lines.at(-1));
    for (const [id, word] of Object.entries(serverShown)) $(id).textContent = word(stats);
  }
  return rest;
}

const streamActions = {
  bi: echoStream,
  uni: uniStream,
  reset: resetStream,
  open: async (current) => {
    const kind = Math.random() < 0.5 ? "bi" : "uni";
    await ask(current, `open ${kind} hello from the server`);
  },
  many: (current) => Promise.all(Array.from({length: 20}, () => echoStream(current))),
};
for (const button of document.querySelectorAll("[data-stream]")) {
  button.addEventListener("click", () => {
    if (session) streamActions[button.dataset.stream](session).catch((error) => log(error.message, true));
  });
}

// Something to look at while nobody presses a button.
async function streamLoop(current) {
  const turn = ["bi", "uni", "bi", "open"];
  for (let index = 0; session === current; index++) {
    const action = streamActions[turn[index % turn.length]];
    if ($("auto").checked && !document.hidden)
      await action(current).catch((error) => { if (session === current) log(error.message, true); });
    await sleep(700);
  }
}

// Throughput ------------------------------------------------------------------------------------

const moved = {up: 0, down: 0};

const transfers = {
  upload: async (current, until) => {
    const stream = await current.createBidirectionalStream(), writer = stream.writable.getWriter();
    await writer.write(encoder.encode("upload\n"));
    const block = payload(CHUNK), began = performance.now();
    while (performance.now() < until) {
      await writer.ready;
      await writer.write(block);
      moved.up += block.length;
    }
    await writer.close();
    let answer = "";
    await readAll(stream.readable, (chunk) => { answer += decoder.decode(chunk); });
    return `${bytesText(Number(answer))} up, ${rateText(Number(answer) * 8000 / (performance.now() - began))}`;
  },
  download: async (current, until) => {
    const began = performance.now();
    let total = 0;
    while (performance.now() < until) {
      await ask(current, `download ${BLOCK}`, null, (chunk) => { total += chunk.length; moved.down += chunk.length; });
    }
    return `${bytesText(total)} down, ${rateText(total * 8000 / (performance.now() - began))}`;
  },
  echo: async (current, until) => {
    const stream = await current.createBidirectionalStream(), writer = stream.writable.getWriter();
    const block = payload(CHUNK), began = performance.now();
    let total = 0;
    const reading = readAll(stream.readable, (chunk) => { total += chunk.length; moved.down += chunk.length; });
    await writer.write(encoder.encode("echo\n"));
    while (performance.now() < until) {
      await writer.ready;
      await writer.write(block);
      moved.up += block.length;
    }
    await writer.close();
    await reading;
    return `${bytesText(total)} there and back, ${rateText(total * 8000 / (performance.now() - began))} each way`;
  },
};

let transferring = null, average = {};
for (const button of document.querySelectorAll("[data-transfer]")) {
  button.addEventListener("click", async () => {
    if (transferring || !session) return;
    transferring = button.dataset.transfer;
    button.setAttribute("aria-busy", "true");
    const row = new Row("bi", button.textContent.toLowerCase()), before = {...moved}, began = performance.now();
    try {
      const result = await transfers[button.dataset.transfer](session, performance.now() + TRANSFER_MS);
      log(result);
      row.bytes = moved.up - before.up + moved.down - before.down;
      row.end("finished");
      throughputChart.describe(`Throughput: ${result}`);
      // What stays is the mean, not the last moment's rate.
      average = {};
      for (const way of ["up", "down"])
        if (moved[way] > before[way]) average[way] = (moved[way] - before[way]) * 8000 / (performance.now() - began);
    } catch (error) {
      row.fail(error);
      log(`${button.textContent}: ${error.message}`, true);
    }
    button.removeAttribute("aria-busy");
    transferring = null;
  });
}

let sampled = {at: performance.now(), up: 0, down: 0};
setInterval(() => {
  const at = performance.now(), span = (at - sampled.at) / 8000;
  const up = (moved.up - sampled.up) / span, down = (moved.down - sampled.down) / span;
  sampled = {at, up: moved.up, down: moved.down};
  throughputChart.add(0, transferring && transferring !== "download" ? up : null);
  throughputChart.add(1, transferring && transferring !== "upload" ? down : null);
  for (const [way, now] of Object.entries({up, down})) {
    const shown = transferring ? now : average[way];
    if (shown) $(`${way}-rate`).textContent = rateText(shown);
  }
}, 200);

// Closing ---------------------------------------------------------------------------------------

$("close-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!session) return;
  ours = true;
  session.close({closeCode: Number($("close-code").value), reason: $("close-reason").value});
});
$("close-server").addEventListener("click", () => {
  ask(session, `close ${Number($("close-code").value)} ${$("close-reason").value}`).catch(() => {});
});
$("connect").addEventListener("click", () => {
  if (!session) return connect();
  ours = true;
  session.close({closeCode: 0, reason: ""});
});
// Firefox keeps the session of a page that is left.
addEventListener("pagehide", () => session?.close());
addEventListener("pageshow", (event) => { if (event.persisted && !session) connect(); });

// For tests and the curious.
globalThis.demo = {get session() { return session; }, count, rtts, moved};

connect();
