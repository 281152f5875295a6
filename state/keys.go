package state

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Keys, all with a TTL. <d> is the deployment, <owner> is pod/epoch. In <…esc> every byte except letters,
// digits and -_.~ is escaped as in a URL query, so that braces in a name cannot move a key to another slot.
//
//	wcs:<d>:pods  hash: owner → "<time of the last renewal in ms> <Peer as JSON>", of all owners that can have
//	  records, or "-" (leftEntry) after the owner left with records. Written before the first lease, and after
//	  each renewal; removed when the owner left without records or was taken over
//	wcs:<d>:{pod:<owner>}:lease  string: host; expires if the owner does not renew it for a lease time
//	wcs:<d>:{pod:<owner>}:taken  string: the owner that took over, itself if it left; kept for at least 24 h
//	wcs:<d>:{pod:<owner>}:index  hash: entry (see entry) of each of the owner's streams and players → stamp
//	wcs:<d>:{pod:<owner>}:sessions  hash: "<claim> <id>" of each of the owner's sessions (see registration) →
//	  stamp
//	wcs:<d>:{pod:<owner>}:rooms  hash: room (see Room.entry) with members of the owner → stamp
//	wcs:<d>:{stream:<name esc>}:record  hash: owner, claim (see entry.claim), gen, json (Stream)
//	wcs:<d>:{stream:<name esc>}:players  set: owners that have players
//	wcs:<d>:{stream:<name esc>}:players:<owner>  hash: claim → Player as JSON
//	wcs:<d>:{stream:<name esc>}:void:<owner>:<claim esc>  string: the owner released the claim; of a player it
//	  is the generation; or another pod did in its place: then it is the Stream or Player as JSON, with a space
//	  before a Stream that was released in a take-over; 10 min
//	wcs:<d>:{room:<room>}:members  hash: login → "<owner> <id> <Member as JSON>"; <room> is app and name, each
//	  escaped, with / between them
//	wcs:<d>:{room:<room>}:departures  hash: login → "<time in ms> <joinedAt>" of logins that left; kept for
//	  Config.DepartureTTL
//	wcs:<d>:{room:<room>}:void:<owner>  string: the owner was taken over in the room; 10 min
//	wcs:<d>:media:<media esc>  string: "<owner> <entry> <generation>"
//	wcs:<d>:session:<id esc>  string: "<owner> <claim> <generation> <Session as JSON>"; after its end
//	  "- <owner> <claim> " (endedSession) and for a dead pod's session the rest of the value; then 10 min
//	wcs:<d>:upstream:<upstream esc>:<name esc>  string: "<owner> "; a client of the owner publishes the stream
//	  there. Renewed, and kept for UpstreamNameTTL
//	wcs:<d>:issued:<SHA-256 of a token>  string: UpstreamToken.text; an upstream issued the token to a spliced
//	  session. Renewed, and kept for UpstreamTokenTTL
//	wcs:<d>:upstreams:<day>  hash: see UpstreamUse.field → count; kept for UseDays after the last one
//	wcs:<d>:pulls  zset: id of a wanted pull → time until which it is wanted, in ms of Redis; as many as
//	  PullWant.Max. It is a hint: the next want of a holder writes a lost entry again
//	wcs:<d>:pull-workers  hash: worker → "<time until which it counts as alive in ms> <PullWorker as JSON>"; at
//	  most maxPullWorkers
//	wcs:<d>:{pull:<id esc>}:job  hash: json (Pull), state, fault, detail, at (of the state, in ms), gen, before
//	  (the gen before), worker (empty: none), take (the worker's last one), lease (its end in ms), deaths (of
//	  workers that had it, in a row), restored (when its worker wrote it again); removed when the pull has no
//	  holder, and 10 min after it failed
//	wcs:<d>:{pull:<id esc>}:wants  zset: holder (a pod's owner, or another name) → time until which it wants
//	  the pull, in ms; one for each pod
//	wcs:<d>:transcripts:<app esc>  list: transcripts of sessions (package transcript) as JSON, the last one
//	  first; kept for TranscriptDays after the last one
//
// The channel of a pod's events is wcs:<d>:pod:<pod>, that of changed pulls wcs:<d>:pulls. A worker's user
// needs wcs:<d>:pull* and wcs:<d>:{pull:* only.
//
// A record is listed in the index of its owner before it is written, or with it, and removed from it after it
// is deleted.
// A removal does not affect an entry with a later stamp, so that it can be late.
// If an owner was taken over, only its takers remove entries from its indexes, and records from marks: one
// can have released a record and died before it handed that over.
// So the index can list too much, but never too little. A stream name is in use while its key :record exists.
type keys struct {
	prefix string // with the last colon
}

func keysOf(deployment string) keys {
	return keys{prefix: "wcs:" + url.QueryEscape(deployment) + ":"}
}

func (k keys) pods() string { return k.prefix + "pods" }

func (k keys) ofOwner(o Owner, what string) string {
	return k.prefix + "{pod:" + o.String() + "}:" + what
}

func (k keys) lease(o Owner) string    { return k.ofOwner(o, "lease") }
func (k keys) taken(o Owner) string    { return k.ofOwner(o, "taken") }
func (k keys) index(o Owner) string    { return k.ofOwner(o, "index") }
func (k keys) sessions(o Owner) string { return k.ofOwner(o, "sessions") }
func (k keys) rooms(o Owner) string    { return k.ofOwner(o, "rooms") }

func (k keys) ofStream(name, what string) string {
	return k.prefix + "{stream:" + url.QueryEscape(name) + "}:" + what
}

func (k keys) record(name string) string  { return k.ofStream(name, "record") }
func (k keys) players(name string) string { return k.ofStream(name, "players") }
func (k keys) playersOf(name string, o Owner) string {
	return k.ofStream(name, "players:"+o.String())
}
func (k keys) void(e entry, o Owner) string {
	return k.ofStream(e.stream, "void:"+o.String()+":"+url.QueryEscape(e.claim()))
}

func (k keys) ofRoom(r Room, what string) string {
	return k.prefix + "{room:" + r.entry() + "}:" + what
}
func (k keys) members(r Room) string           { return k.ofRoom(r, "members") }
func (k keys) departures(r Room) string        { return k.ofRoom(r, "departures") }
func (k keys) roomVoid(r Room, o Owner) string { return k.ofRoom(r, "void:"+o.String()) }

func (k keys) media(id string) string   { return k.prefix + "media:" + url.QueryEscape(id) }
func (k keys) session(id string) string { return k.prefix + "session:" + url.QueryEscape(id) }
func (k keys) uses(at time.Time) string {
	return k.prefix + "upstreams:" + at.UTC().Format(time.DateOnly)
}
func (k keys) transcripts(app string) string {
	return k.prefix + "transcripts:" + url.QueryEscape(app)
}
func (k keys) upstreamName(n UpstreamName) string {
	return k.prefix + "upstream:" + url.QueryEscape(n.Upstream) + ":" + url.QueryEscape(n.Name)
}
func (k keys) pulls() string              { return k.prefix + "pulls" }
func (k keys) pullWorkers() string        { return k.prefix + "pull-workers" }
func (k keys) pull(id string) string      { return k.ofPull(id, "job") }
func (k keys) pullWants(id string) string { return k.ofPull(id, "wants") }
func (k keys) ofPull(id, what string) string {
	return k.prefix + "{pull:" + url.QueryEscape(id) + "}:" + what
}
func (k keys) upstreamToken(h TokenHash) string {
	return k.prefix + "issued:" + hex.EncodeToString(h[:])
}
func (k keys) channel(pod string) string { return k.prefix + "pod:" + pod }

// Kinds of index entries.
const (
	streamEntry = "s"
	playerEntry = "p"
)

// entry is a stream or player in its owner's index, and the holder of a media id's claim.
type entry struct {
	kind     string
	media    string
	identity string // distinguishes two attempts with the same media id
	stream   string
}

func entryOfStream(s Stream) entry {
	return entry{kind: streamEntry, media: s.MediaID, identity: s.Identity, stream: s.Name}
}

func entryOfPlayer(p Player) entry {
	return entry{kind: playerEntry, media: p.MediaID, identity: p.Identity, stream: p.Stream}
}

// claim identifies one claim of a name, or one player of a stream, among those of an owner.
func (e entry) claim() string { return url.QueryEscape(e.media) + " " + url.QueryEscape(e.identity) }

func (e entry) String() string { return e.kind + " " + e.claim() + " " + e.stream }

func parseEntry(s string) (entry, error) {
	f := strings.SplitN(s, " ", 4)
	if len(f) != 4 || (f[0] != streamEntry && f[0] != playerEntry) {
		return entry{}, fmt.Errorf("index entry %q", s)
	}
	media, err := url.QueryUnescape(f[1])
	if err != nil {
		return entry{}, fmt.Errorf("index entry %q: %w", s, err)
	}
	identity, err := url.QueryUnescape(f[2])
	if err != nil {
		return entry{}, fmt.Errorf("index entry %q: %w", s, err)
	}
	return entry{kind: f[0], media: media, identity: identity, stream: f[3]}, nil
}

// parseOwned parses the value of a media id's key.
func parseOwned(value string) (o ownedEntry, ok bool) {
	owner, rest, _ := strings.Cut(value, " ")
	generation := strings.LastIndexByte(rest, ' ')
	if generation < 0 {
		return o, false
	}
	var errOwner, errEntry error
	o.owner, errOwner = parseOwner(owner)
	o.entry, errEntry = parseEntry(rest[:generation])
	return o, errOwner == nil && errEntry == nil
}
