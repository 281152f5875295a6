"use strict";
// A user of the WCS SDK. Tests address sessions and streams by index.

const {SESSION_STATUS, STREAM_STATUS, STREAM_EVENT, CONNECTION_QUALITY} = Flashphoner.constants;
const wsPlayer = document.querySelector("script[src*=websdk]").src.replace("flashphoner.js", "examples/demo/dependencies/websocket-player/");
const sessions = [];
const streams = [];
const displays = [];
const statusesRead = []; // of each stream: how far nextStatus has come in the journal

/** Opens a session and waits until it is established, or over. Returns its index. custom is for the app's backend. */
async function connect(url, appKey, custom) {
  await Flashphoner.init({receiverLocation: wsPlayer + "WSReceiver2.js", decoderLocation: wsPlayer + "video-worker2.js"});
  const index = sessions.length;
  const session = Flashphoner.createSession({urlServer: url, appKey, custom});
  sessions.push(session);
  for (const status of Object.values(SESSION_STATUS)) {
    session.on(status, (...args) => note({session: index, status, info: args[args.length - 1]?.info ?? ""}));
  }
  await sessionStatus(index, [SESSION_STATUS.ESTABLISHED, SESSION_STATUS.DISCONNECTED, SESSION_STATUS.FAILED]);
  return index;
}

/** Opens and closes a session for each login, and returns the versions of the servers that served them. */
async function versionsFor(url, appKey, logins) {
  const versions = [];
  for (const login of logins) {
    const before = journal.length;
    const index = await connect(url, appKey, {login});
    const version = await until(() => journal.slice(before).find((e) => e.way === "in" && e.message === "getVersion"));
    versions.push(version.args[0]);
    disconnect(index);
    await sessionStatus(index, [SESSION_STATUS.DISCONNECTED]);
  }
  return versions;
}

/** Waits until a session has had one of these statuses, and returns it. */
async function sessionStatus(index, statuses) {
  return (await until(() => journal.find((e) => e.session === index && statuses.includes(e.status)))).status;
}

/** The events of a session's callbacks. */
function sessionEvents(index) {
  return journal.filter((e) => e.session === index).map((e) => e.info ? `${e.status} ${e.info}` : e.status);
}

function disconnect(index) {
  sessions[index].disconnect();
}

/** Sends the app's data and returns the result. */
async function sendData(index, payload) {
  const outcome = (kind) => (event) => ({kind, info: event.info ?? ""});
  return sessions[index].sendData(payload).then(outcome("resolved"), outcome("rejected"));
}

/** Waits until a session's callbacks have received a status with this info. */
async function sessionTold(index, status, info) {
  await until(() => journal.find((e) => e.session === index && e.status === status && e.info === info));
}

/** Creates a stream, and records the events of its callbacks. Returns its index. */
function make(session, options) {
  const display = document.body.appendChild(document.createElement("div"));
  const stream = sessions[session].createStream({display, ...options});
  const index = streams.length;
  streams.push(stream);
  displays.push(display);
  statusesRead.push(0);
  for (const status of Object.values(STREAM_STATUS)) {
    stream.on(status, () => note({stream: index, status, info: stream.getInfo() ?? ""}));
  }
  stream.on(STREAM_EVENT, (e) => note({stream: index, event: e.type, payload: e.payload}));
  stream.on(CONNECTION_QUALITY.UPDATE, (quality, client, server) => note({stream: index, quality, client, server}));
  return index;
}

/** Records the sizes that a player shows. The SDK makes the video element only while it starts. */
function noteShownSizes(index) {
  const watch = () => {
    if (!elementOf(index)) return;
    observer.disconnect();
    const video = elementOf(index);
    video.addEventListener("resize", () => note({stream: index, shown: {width: video.videoWidth, height: video.videoHeight}}));
  };
  const observer = new MutationObserver(watch);
  observer.observe(displays[index], {childList: true, subtree: true});
  watch();
}

/** Creates a stream and starts to publish or play it. Returns its index. */
function start(session, verb, options) {
  const index = make(session, options);
  note({stream: index, call: verb});
  streams[index][verb]();
  if (verb === "play") noteShownSizes(index);
  return index;
}

/** Publishes a picture of bars in these colours, of the same width from left to right. Returns the stream's index. */
function publishBars(session, name, colours, options) {
  const canvas = document.body.appendChild(document.createElement("canvas"));
  canvas.width = 480;
  canvas.height = 240;
  const context = canvas.getContext("2d");
  const width = canvas.width / colours.length;
  const draw = () => colours.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect(i * width, 0, width, canvas.height);
  });
  draw();
  setInterval(draw, 100); // an unchanged canvas produces no frames
  return start(session, "publish", {name, constraints: {audio: false, video: false, customStream: canvas.captureStream(10)}, ...options});
}

/** Asks for a picture of a stream, by a stream object of its own, and returns the results: the event, and the older status. */
async function snapshot(session, name) {
  const index = make(session, {name});
  streams[index].snapshot();
  const event = await until(() => journal.find((e) => e.stream === index && ["snapshotCompleted", "snapshotFailed"].includes(e.event)));
  if (event.event === "snapshotFailed") return {info: event.payload.info};
  const status = await until(() => journal.find((e) => e.stream === index && e.status === STREAM_STATUS.SNAPSHOT_COMPLETE));
  return {event: event.payload.snapshot, status: status.info, left: streams[index].status()};
}

/** Waits until a stream has received data that end with this, and returns all data. */
async function heard(index, last) {
  const all = () => journal.filter((e) => e.stream === index && e.event === "data").map((e) => e.payload);
  await until(() => all().at(-1) === last);
  return all();
}

const passing = [STREAM_STATUS.PENDING, STREAM_STATUS.RESIZE];

/** Waits for a stream's next status that is not transient. */
async function nextStatus(index) {
  const entry = await until(() => {
    for (; statusesRead[index] < journal.length; statusesRead[index]++) {
      const e = journal[statusesRead[index]];
      if (e.stream === index && e.status && !passing.includes(e.status)) return e;
    }
    return null;
  });
  statusesRead[index]++;
  return {status: entry.status, info: entry.info};
}

function stop(index) {
  streams[index].stop();
}

/** Asks whether a stream is available. */
async function available(session, name) {
  const stream = streams[make(session, {name})];
  const there = await stream.available().then(() => true, () => false);
  return {there, info: stream.getInfo() ?? ""};
}

/** Asks whether a stream is available, and if so plays it by the same stream object. Returns its index. */
async function askThenPlay(session, name) {
  const index = make(session, {name});
  await streams[index].available();
  streams[index].play();
  return index;
}

/** The messages about a stream, in their order. */
function messages(index) {
  const id = streams[index].id();
  const about = (arg) => arg === id || arg?.mediaSessionId === id || arg?.id === id;
  return journal.filter((e) => e.message && about(e.args?.[0]));
}

/** The names of the messages about a stream that came in, with the status if they have one. */
function order(index) {
  return messages(index).filter((e) => e.way === "in").map((e) => [e.message, e.args[0].status ?? e.args[0].type].filter(Boolean).join(" "));
}

/** Waits for the size that the gateway has announced for a stream, in both ways. */
async function announcedSize(index, width, height) {
  const same = (p) => p?.streamerVideoWidth === width && p?.streamerVideoHeight === height;
  await until(() => messages(index).some((e) => e.message === "notifyVideoFormat" && same(e.args[0])));
  await until(() => journal.some((e) => e.stream === index && e.event === "resize" && same(e.payload)));
  await until(() => journal.some((e) => e.stream === index && e.status === STREAM_STATUS.RESIZE));
  return streams[index].videoResolution();
}

/** Waits until the SDK has reported the quality of a stream n times, and returns all reports, in bit/s. */
async function qualities(index, n) {
  const all = () => journal.filter((e) => e.stream === index && e.quality);
  await until(() => all().length >= n);
  return all().map(({at, quality, client, server}) => ({at, quality, client, server}));
}

/** The video rates that came in for a stream, in their order. */
function rates(index) {
  const names = ["inboundVideoRate", "outboundVideoRate"];
  return messages(index).filter((e) => names.includes(e.message)).map((e) => ({at: e.at, ...e.args[0]}));
}

/** How many ms after a player has shown the first frame of a size the size was announced; negative if it was before. */
async function sizeLead(index, width, height) {
  const shown = (await until(() => journal.find((e) => e.stream === index && e.shown?.width === width && e.shown?.height === height))).at;
  const told = journal.find((e) => e.stream === index && e.event === "resize" && e.payload.streamerVideoWidth === width && e.payload.streamerVideoHeight === height).at;
  return told - shown;
}

/** The last status event that came in for a stream, as the gateway sent it. */
function lastStatus(index) {
  const all = messages(index).filter((e) => e.message === "notifyStreamStatusEvent");
  return all[all.length - 1].args[0];
}

/** The name of the recording's file, as the SDK reports it to an app. */
function recordInfo(index) {
  return streams[index].getRecordInfo() ?? "";
}

/** The peer connection of a stream: the one that created the offer sent. */
function connectionOf(index) {
  const offer = messages(index).find((e) => e.way === "out" && e.args[0].sdp)?.args[0].sdp;
  const ufrag = /a=ice-ufrag:\S+/.exec(offer)[0];
  return connections.find((c) => c.localDescription?.sdp.includes(ufrag + "\r\n"));
}

function elementOf(index) {
  return displays[index].querySelector("video");
}

/** Waits until a player plays the media described by want. */
function playing(index, want) {
  return awaitMedia(() => connectionOf(index), () => elementOf(index), want);
}

function protocol(index) {
  return pairProtocol(connectionOf(index));
}

/** The answer as the SDK applied it. */
function appliedAnswer(index) {
  return connectionOf(index).appliedSDP;
}

/** Changes the size of a publisher's camera. */
async function resize(index, width, height) {
  const [track] = elementOf(index).srcObject.getVideoTracks();
  await track.applyConstraints({width: {exact: width}, height: {exact: height}});
}

/** Names of the codecs that this browser can send. */
function codecNames(kind) {
  return [...new Set(RTCRtpSender.getCapabilities(kind).codecs.map((c) => c.mimeType.split("/")[1]))];
}
