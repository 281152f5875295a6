// Lists the frames reported by wire.js, oldest first.

import {wire} from "./wire.js";

const MAX_ENTRIES = 1000;
const ROUTINE = new Set(["ping", "pong", "inboundVideoRate", "outboundVideoRate", "webRTCMetricsBatch", "pushLogs"]);
const ARROWS = {out: ["▲", "sent"], in: ["▼", "received"], socket: ["●", "socket"]};

const list = document.getElementById("wire");
const total = document.getElementById("wire-total");
const routine = document.getElementById("wire-routine");
let counts;

export function startLog() {
  clear();
  wire.addEventListener("frame", (e) => add(e.detail));
  routine.addEventListener("change", () => list.classList.toggle("hide-routine", !routine.checked));
  document.getElementById("wire-clear").addEventListener("click", clear);
}

function clear() {
  list.replaceChildren();
  counts = {out: [0, 0], in: [0, 0]};
  total.textContent = "none";
}

function add(frame) {
  count(frame);
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(entry(frame));
  if (list.childElementCount > MAX_ENTRIES) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function count({direction, size}) {
  if (!counts[direction]) return;
  counts[direction][0]++;
  counts[direction][1] += size;
  total.textContent = `▲ ${counts.out[0]} (${bytes(counts.out[1])})  ▼ ${counts.in[0]} (${bytes(counts.in[1])})`;
}

function entry(frame) {
  const item = document.createElement("li");
  item.dataset.direction = frame.direction;
  item.dataset.name = frame.name;
  item.dataset.size = frame.size;
  item.classList.toggle("routine", ROUTINE.has(frame.name));
  if (frame.message === undefined) {
    const line = document.createElement("p");
    line.append(...columns(frame));
    item.append(line);
    return item;
  }
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.append(...columns(frame));
  details.append(summary);
  details.addEventListener("toggle", () => { // created on demand: most are never opened
    const body = document.createElement("pre");
    body.textContent = JSON.stringify(frame.message, shorten, 2);
    details.append(body);
  }, {once: true});
  item.append(details);
  return item;
}

function columns(frame) {
  const {time, direction, name, size} = frame;
  const [arrow, word] = ARROWS[direction];
  return [
    column("time", time.toTimeString().slice(0, 8) + "." + String(time.getMilliseconds()).padStart(3, "0")),
    column("direction", arrow, word),
    column("name", name),
    column("gist", gist(frame)),
    column("size", size ? bytes(size) : ""),
  ];
}

function column(name, text, spoken) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  if (spoken) {
    span.title = spoken;
    span.setAttribute("role", "img");
    span.setAttribute("aria-label", spoken);
  }
  return span;
}

/** Summarizes a message: the stream or application of a command, or the status in a notification. */
function gist({direction, message}) {
  const subject = message?.data?.[0];
  if (typeof subject !== "object" || !subject) return "";
  const words = direction === "out" ? [subject.name, subject.appKey] : [subject.status, subject.type, subject.info];
  return words.filter((word) => typeof word === "string").join(" ");
}

/** Shortens long values, and hides tokens. */
function shorten(key, value) {
  if (typeof value !== "string") return value;
  if (value.startsWith("v=0")) {
    const media = value.split(/\r?\n/).filter((line) => line.startsWith("m="));
    return `v=0 … ${media.join(" … ")} … (${value.length} characters)`;
  }
  if (key === "authToken") return `… (${value.length} characters)`;
  return value.length > 300 ? `${value.slice(0, 100)} … (${value.length} characters)` : value;
}

function bytes(n) {
  return n < 10000 ? `${n} B` : `${(n / 1000).toFixed(1)} kB`;
}
