"use strict";
// A client without an SDK, in the manner of the vendor's description of 2018: m-lines are called audio and
// video, and only required members are sent.

const sockets = [];
const calls = [];

/** Opens a socket and a session. Returns its index. */
async function open(url, appKey) {
  const socket = new WebSocket(url);
  const index = sockets.length;
  sockets.push(socket);
  socket.onmessage = (e) => {
    if (JSON.parse(e.data).message === "ping") send(index, "pong", null);
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  send(index, "connection", {appKey, mediaProviders: ["WebRTC"], clientVersion: "0.5.28"});
  await until(() => journal.find((e) => e.message === "getUserData"));
  return index;
}

function send(index, message, arg) {
  sockets[index].send(JSON.stringify({message, data: [arg]}));
}

/** Offers a stream, with the m-lines called audio and video, and applies the answer. Returns the call's index. */
async function begin(socket, verb, name) {
  const index = calls.length;
  const id = `raw-${name}-${verb}`;
  const connection = new RTCPeerConnection({iceServers: [], bundlePolicy: "max-compat"});
  const element = document.body.appendChild(document.createElement("video"));
  calls.push({socket, verb, name, id, connection, element});
  if (verb === "publishStream") {
    const media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 320, height: 240}});
    for (const track of media.getTracks()) connection.addTrack(track, media);
  } else {
    connection.ontrack = (e) => {
      element.srcObject = e.streams[0];
      element.onloadedmetadata = () => element.play();
    };
  }
  const receive = verb === "playStream";
  const offer = await connection.createOffer({offerToReceiveAudio: receive, offerToReceiveVideo: receive});
  const sdp = offer.sdp.replace("a=mid:0\r\n", "a=mid:audio\r\n").replace("a=mid:1\r\n", "a=mid:video\r\n")
    .replace("a=group:BUNDLE 0 1\r\n", "a=group:BUNDLE audio video\r\n");
  await connection.setLocalDescription({type: "offer", sdp});
  send(socket, verb, {mediaSessionId: id, name, published: !receive, hasVideo: true, hasAudio: true, status: "PENDING", record: false,
    bitrate: 0, minBitrate: 0, maxBitrate: 0, sdp});
  const answer = await until(() => journal.find((e) => e.message === "setRemoteSDP" && e.args[0] === id));
  await connection.setRemoteDescription({type: "answer", sdp: answer.args[1]});
  return index;
}

/** Ends a stream. */
function end(index) {
  const {socket, verb, name, id, connection} = calls[index];
  send(socket, verb === "publishStream" ? "unPublishStream" : "stopStream", {mediaSessionId: id, name, published: verb === "publishStream",
    hasVideo: true, hasAudio: true, record: false});
  connection.close();
}

/** Waits for the n-th status event of a stream, from 0. */
async function status(index, n) {
  const {id} = calls[index];
  const of = () => journal.filter((e) => e.message === "notifyStreamStatusEvent" && e.args[0].mediaSessionId === id);
  const {status, info} = (await until(() => of()[n])).args[0];
  return {status, info: info ?? ""};
}

function mids(index) {
  return calls[index].connection.getTransceivers().map((t) => t.mid);
}

function watching(index) {
  const {connection, element} = calls[index];
  return awaitMedia(() => connection, () => element, {audio: true, video: true, width: 320, height: 240});
}
