// The demo: what a WCS app does with the stock SDK, and what can be seen of it.

import {startLog} from "./log.js";
import {StreamPanel} from "./stream.js";
import {plainWords} from "./words.js";

const {SESSION_STATUS, STREAM_STATUS} = Flashphoner.constants;
const byId = (id) => document.getElementById(id);

const publisher = new StreamPanel({
  panel: byId("publisher"), display: byId("local"), button: byId("publish"), status: byId("status-publish"),
  direction: "out", up: STREAM_STATUS.PUBLISHING, down: STREAM_STATUS.UNPUBLISHED, verb: "Publish",
  start: (stream) => stream.publish(),
});
const player = new StreamPanel({
  panel: byId("player"), display: byId("remote"), button: byId("play"), status: byId("status-play"),
  direction: "in", up: STREAM_STATUS.PLAYING, down: STREAM_STATUS.STOPPED, verb: "Play",
  start: (stream) => stream.play(),
});

let session = null; // while it is open or being opened
let leaving = false; // Disconnect was clicked: what ends now ends as it should

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

/** Makes the buttons say what they do now, and marks the one to click next. */
function render() {
  const status = session ? session.status() : "DISCONNECTED";
  const open = status === SESSION_STATUS.ESTABLISHED;
  byId("status-session").textContent = status;
  byId("status-session").dataset.state = open ? "up" : session ? "wait" : "";
  byId("connect").textContent = session ? "Disconnect" : "Connect";
  byId("connect").disabled = false;
  byId("available").disabled = !open;
  byId("server").disabled = byId("app-key").disabled = Boolean(session);
  publisher.render(open);
  player.render(open);

  const next = !session ? "connect" : !publisher.stream ? "publish" : !player.stream ? "play" : "";
  for (const id of ["connect", "publish", "play"]) byId(id).classList.toggle("next", id === next);
}

function connect() {
  say("");
  leaving = false;
  const url = byId("server").value;
  const opened = Flashphoner.createSession({urlServer: url, appKey: byId("app-key").value});
  session = opened;
  const ended = (text) => () => {
    if (session !== opened) return;
    session = null;
    byId("availability").textContent = "";
    if (text) say(text);
    render();
  };
  let refusal = "";
  opened.on(SESSION_STATUS.CONNECTED, render);
  opened.on(SESSION_STATUS.ESTABLISHED, render);
  opened.on(SESSION_STATUS.WARN, (fail) => {
    refusal = fail?.info ?? "";
    if (refusal) say(`The gateway says: ${refusal}`);
  });
  opened.on(SESSION_STATUS.FAILED, ended(`No connection to ${url}. Is wcs-dev running there?`));
  opened.on(SESSION_STATUS.DISCONNECTED, () => ended(refusal && `The gateway closed the session: ${refusal}`)());
  render();
}

function disconnect() {
  say("");
  leaving = true;
  session.disconnect();
  render();
}

function toggle(panel, options) {
  if (panel.stream) {
    panel.stop();
  } else {
    say("");
    panel.open(session, {name: byId("stream").value, ...options});
  }
  render();
}

function publish() {
  if (!publisher.stream && !navigator.mediaDevices) {
    say("Browsers give the camera only to https:// pages and to http://localhost. Open this page on the machine that runs wcs-dev, as http://localhost with the same port.");
    return;
  }
  toggle(publisher, {constraints: {audio: true, video: {width: 640, height: 480}}});
}

function play() {
  toggle(player, {unmutePlayOnStart: byId("sound").checked});
}

async function askAvailable() {
  const name = byId("stream").value;
  const answer = byId("availability");
  answer.textContent = "…";
  const stream = session.createStream({name});
  try {
    await stream.available();
    answer.textContent = `yes, ${name} is published`;
  } catch {
    answer.textContent = `no: ${plainWords(stream.getInfo()) || "it is not published"}`;
  }
}

for (const panel of [publisher, player]) {
  panel.addEventListener("change", render);
  panel.addEventListener("failed", (e) => leaving || say(e.detail));
}
byId("session").addEventListener("submit", (e) => {
  e.preventDefault();
  if (session) disconnect(); else connect();
});
byId("publish").addEventListener("click", publish);
byId("play").addEventListener("click", play);
byId("available").addEventListener("click", askAvailable);
byId("sound").addEventListener("change", () => player.sound(byId("sound").checked));

// Browsers have no camera API on http pages of other machines, and the SDK takes such a browser for one without WebRTC.
// Playing needs no camera: with this in its place it works.
if (!("getUserMedia" in navigator)) {
  navigator.getUserMedia = (_constraints, _ok, failed) => failed(new DOMException("Permission denied", "NotAllowedError"));
}

startLog();
await Flashphoner.init();
render();
