// Explanations of failures for users.

const WORDS = [
  [/permission|not allowed/i, "The browser has no permission to use the camera and microphone. Allow them in the address bar and try again"],
  [/device not found|can not be found/i, "No camera or no microphone was found"],
  [/could not start|not readable|in use by/i, "The camera cannot be opened. Another program may be using it"],
  [/^(Session does not exist|Stream not found)$/, "No stream with this name is published. Publish it first"],
  [/^Stream name is already in use$/, "Another client publishes a stream with this name. Choose another name"],
  [/^Publish stream is not ready$/, "The stream has no media yet. Try again in a moment"],
  [/^Stopped by publisher stop$/, "The publisher stopped the stream"],
  [/^Failed by ICE timeout$/, "The browser cannot reach LiveKit's media ports. Check the firewall of this machine for the port “Media” that wcs-dev prints. Firefox makes no media connection to 127.0.0.1"],
  [/^Failed by RTP activity$/, "The connection is established, but no media arrives"],
  [/^Too many requests at a time$/, "The gateway limits how often a client starts streams. Wait a few seconds and try again"],
  [/^Too many sessions of this application$/, "The application has as many sessions as it may have. Close another tab with this page"],
  [/^Origin not allowed$/, "The gateway rejects this page. Add its address to listen.origins, or open the page that wcs-dev serves"],
  [/^No common codecs$/, "The browser cannot play the codecs of this stream"],
  [/^Rtsp stream not found$/, "The camera has no stream at this path"],
  [/^Failed to connect to rtsp stream$/, "The worker cannot connect to the camera. Check the address, the user and the password"],
  [/^Restricted access$/, "The application may not play this"],
  [/^Failed to add stream to proxy$/, "The gateway cannot reach LiveKit or Redis. See its log"],
];

/** Returns the explanation of a failure text, followed by the text itself. */
export function plainWords(text) {
  if (!text) return "";
  const known = WORDS.find(([pattern]) => pattern.test(text));
  return known && known[1] !== text ? `${known[1]} (“${text}”).` : `${text}.`;
}
