// What a failure means, for people.

const WORDS = [
  [/permission|not allowed/i, "The browser was not allowed to use the camera and the microphone: allow them in the address bar and try again"],
  [/device not found|can not be found/i, "No camera or no microphone was found"],
  [/could not start|not readable|in use by/i, "The camera cannot be opened; another program may be using it"],
  [/^Stream not found$/, "Nobody publishes a stream of this name: publish it first"],
  [/^Stream name is already in use$/, "Somebody else publishes under this name: choose another one"],
  [/^Publish stream is not ready$/, "The stream is being published but has no media yet: try again in a moment"],
  [/^Stopped by publisher stop$/, "The publisher has stopped"],
  [/^Failed by ICE timeout$/, "The browser does not reach LiveKit's media ports"],
  [/^Failed by RTP activity$/, "The connection is up but no media arrives"],
  [/^No common codecs$/, "The browser cannot play the codecs of this stream"],
  [/^Failed to add stream to proxy$/, "The gateway does not reach LiveKit or Redis: its log says more"],
];

/** The text of a failure in plain words, with the text itself behind. */
export function plainWords(text) {
  if (!text) return "";
  const known = WORDS.find(([pattern]) => pattern.test(text));
  return known && known[1] !== text ? `${known[1]} (“${text}”).` : `${text}.`;
}
