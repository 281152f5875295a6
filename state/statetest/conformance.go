package statetest

import (
	"context"
	"testing"
	"time"

	"wcsgateway/state"
)

// Node is the store of a pod: the gateway's Store, Sessions and Events.
type Node interface {
	Streams
	Players
	Sessions
	Resumption
	Rooms
	Listing
	Upstreams
	Publish(ctx context.Context, pod string, e state.Event) error
}

// Streams is the part of Node about published streams.
type Streams interface {
	ClaimStream(ctx context.Context, s state.Stream) error
	PutStream(ctx context.Context, s state.Stream) (pods []string, err error)
	ReleaseStream(ctx context.Context, s state.Stream) (pods []string, err error)
	DisplaceStream(ctx context.Context, s state.Stream) (pods []string, err error)
	FindStream(ctx context.Context, name string) (state.Stream, error)
	Leased(ctx context.Context, o state.Owner) (bool, error)
}

// Players is the part of Node about players.
type Players interface {
	AddPlayer(ctx context.Context, p state.Player) (state.Stream, error)
	RemovePlayer(ctx context.Context, p state.Player) error
}

// Sessions is the part of Node about sessions.
type Sessions interface {
	PutSession(s state.Session)
	DropSession(id string)
	PutUpstream(id string, h state.TokenHash, u *state.SessionUpstream)
	FindUpstream(ctx context.Context, id string, h state.TokenHash) (state.Session, error)
	FindSession(ctx context.Context, id string) (state.Session, error)
}

// Upstreams is the part of Node about streams that clients publish on other servers, and tokens of these.
type Upstreams interface {
	PutUpstreamNames(ctx context.Context, names []state.UpstreamName) error
	DropUpstreamNames(ctx context.Context, names []state.UpstreamName) error
	HasUpstreamName(ctx context.Context, n state.UpstreamName) (bool, error)
	PutUpstreamTokens(ctx context.Context, tokens []state.UpstreamToken) error
	FindUpstreamToken(ctx context.Context, h state.TokenHash) (state.UpstreamToken, error)
}

// Resumption is the part of Node about sessions that outlive their socket.
type Resumption interface {
	FindSessionOf(ctx context.Context, id string, h state.TokenHash) (state.Session, error)
	TakeSession(ctx context.Context, id string, decide func(state.Session) (state.Session, error)) (was state.Session, err error)
	EndSession(ctx context.Context, s state.Session) error
	AdoptStream(ctx context.Context, s state.Stream, from state.Owner) error
	AdoptPlayer(ctx context.Context, p state.Player, from state.Owner) (state.Stream, error)
}

// Rooms is the part of Node about rooms.
type Rooms interface {
	SyncRoom(ctx context.Context, u state.RoomUpdate) (state.RoomState, error)
}

// Opener opens the store of another pod of a deployment. The store is ready, and is closed with the test.
type Opener func(t testing.TB, pod string, h state.Handlers) Node

// Pods of the suite.
const (
	podA = "aaaaaaaa"
	podB = "bbbbbbbb"
)

// eventually bounds the wait for background work; it is generous, because the machine can be busy.
const eventually = 20 * time.Second

// RunConformance checks the required behaviour of a store with several pods. newDeployment creates an empty
// deployment for each test.
func RunConformance(t *testing.T, newDeployment func(t testing.TB) Opener) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*pair)
	}{
		{"claimed stream is found by all pods", testClaimFind},
		{"name is claimed once", testNameTaken},
		{"claim may be repeated", testClaimRepeated},
		{"media id is claimed once", testMediaIDTaken},
		{"failed claim leaves nothing", testFailedClaimLeavesNothing},
		{"released claim is refused when it comes late", testLateClaim},
		{"removed player is refused when it comes late", testLatePlayer},
		{"record is replaced by its owner only", testPut},
		{"release is repeatable and the owner's only", testRelease},
		{"displaced stream is the owner's no more", testDisplace},
		{"players need a stream", testPlayersNeedAStream},
		{"native players need none", testNativePlayers},
		{"pods of a stream are those with players", testPodsOfStream},
		{"refused player leaves the other one", testRefusedPlayer},
		{"names of all kinds", testNames},
		{"one of many claims wins", testConcurrentClaims},
		{"sessions are registered", testSessions},
		{"kept session is taken by another pod", testTakeSession},
		{"kept session comes back to its pod", testTakeSessionBack},
		{"one of many takers wins", testConcurrentTakers},
		{"adopted stream is the new owner's", testAdoptStream},
		{"adopted player is the new owner's", testAdoptPlayer},
		{"own streams may be adopted", testAdoptOwn},
		{"members of a room are their pods'", testRoom},
		{"a login is in a room once", testRoomLogin},
		{"a room has room for so many", testRoomFull},
		{"adopted member is the new owner's", testRoomAdopt},
		{"departures from a room are kept", testRoomDepartures},
		{"departures from a room are bounded", testRoomDeparturesBounded},
		{"rooms of all names", testRoomNames},
		{"one of many has the login", testRoomRace},
		{"streams are listed by all pods", testListStreams},
		{"sessions are listed in pages", testListSessions},
		{"the last generation wins when all register again", testLatestGenerationWins},
		{"names on upstreams are their pods'", testUpstreamNames},
		{"tokens of upstreams are found on every pod", testUpstreamTokens},
		{"events arrive in order", testEvents},
		{"expired context is unavailable", testExpiredContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(newPair(t, newDeployment(t))) })
	}
}

// pair is two pods of a deployment.
type pair struct {
	t      *testing.T
	a, b   node
	eventB chan state.Event
}

func newPair(t *testing.T, open Opener) *pair {
	t.Helper()
	p := &pair{t: t, eventB: make(chan state.Event, 1000)}
	p.a = node{open(t, podA, state.Handlers{}), t}
	p.b = node{open(t, podB, state.Handlers{Event: func(e state.Event) { p.eventB <- e }}), t}
	return p
}

func streamOf(name, media string) state.Stream {
	return state.Stream{
		Name: name, MediaID: media, App: "defaultApp", Session: "/10.0.0.1:1234/0011223344556677",
		Room: "wcs." + name, Identity: "wcs:test:pub:" + media, Phase: state.PhaseStarting,
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func playerOf(stream, media string) state.Player {
	return state.Player{
		MediaID: media, Stream: stream, App: "defaultApp", Session: "/10.0.0.2:1234/0011223344556677",
		Room: "wcs." + stream, Identity: "wcs:test:play:" + media,
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}
