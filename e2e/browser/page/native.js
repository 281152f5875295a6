"use strict";
// A user of LiveKit's own SDK.

const rooms = [];

/** Joins a room. Tracks of other participants are attached to elements when they arrive. Returns the index of the room. */
async function join(url, token) {
  const {Room, RoomEvent} = LivekitClient;
  const room = new Room();
  const index = rooms.length;
  rooms.push({room, elements: []});
  room.on(RoomEvent.TrackSubscribed, (track, publication, participant) => {
    const element = document.body.appendChild(track.attach());
    rooms[index].elements.push({kind: track.kind, element, receiver: track.receiver});
    note({room: index, event: "subscribed", kind: track.kind, identity: participant.identity});
  });
  room.on(RoomEvent.ParticipantDisconnected, (participant) => note({room: index, event: "left", identity: participant.identity}));
  room.on(RoomEvent.ParticipantAttributesChanged, (changed) => note({room: index, event: "attributes", changed}));
  room.on(RoomEvent.DataReceived, (payload, participant, kind, topic) =>
    note({room: index, event: "data", text: new TextDecoder().decode(payload), topic: topic ?? "", sender: participant?.identity ?? ""}));
  await room.connect(url, token);
  return index;
}

/** Publishes camera and microphone. */
async function publish(index, width, height) {
  const {room} = rooms[index];
  await room.localParticipant.setMicrophoneEnabled(true);
  await room.localParticipant.setCameraEnabled(true, {resolution: {width, height}});
}

/** Sends data to the room. */
function say(index, text) {
  return rooms[index].room.localParticipant.publishData(new TextEncoder().encode(text), {reliable: true, topic: "chat"});
}

function leave(index) {
  return rooms[index].room.disconnect();
}

/** Waits until audio and video of another participant are played, and returns their publisher. */
async function watching(index) {
  const {elements} = rooms[index];
  const of = (kind) => elements.find((e) => e.kind === kind);
  await until(() => of("audio") && of("video"));
  const connection = connections.find((c) => c.getReceivers().includes(of("video").receiver));
  const media = await awaitMedia(() => connection, () => of("video").element, {audio: true, video: true});
  return {...media, identity: journal.find((e) => e.room === index && e.event === "subscribed").identity};
}

/** Waits until a participant has left. */
async function left(index, identity) {
  await until(() => journal.find((e) => e.room === index && e.event === "left" && e.identity === identity));
}

/** Waits until an attribute of a participant has changed to a value. */
async function attributeIs(index, name, value) {
  await until(() => journal.find((e) => e.room === index && e.event === "attributes" && e.changed[name] === value));
}

/** Waits for the first data message. */
async function data(index) {
  const {text, topic, sender} = await until(() => journal.find((e) => e.room === index && e.event === "data"));
  return {text, topic, sender};
}
