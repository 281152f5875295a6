// Package pulls plays sources outside the deployment: cameras, servers and files that a client names by a
// URL (docs/pull.md). A worker reads each of them once and publishes it into a LiveKit room of its own, as a
// native participant. This package owns which names are sources, their limits, and the holds that keep a
// source pulled while this pod has players of it. It knows no session. Sessions and the REST API call it.
package pulls

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"wcsgateway/gateway/ends"
	"wcsgateway/gateway/serial"
	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// Config configures a Service.
type Config struct {
	Keys       *pull.Keys // nil: nothing is pulled
	Linger     time.Duration
	Retry      time.Duration
	Max        int // sources of the deployment
	PerApp     int // of them, those of one application's players
	PerSession int // sources that a session plays
}

// App is what the clients of an application are allowed to play. The zero value is nothing.
type App struct {
	Allow     pull.Allow
	Transcode bool
	UDP       bool // if this application's player is the first of a camera
}

// Store keeps the pulls of the deployment. Errors wrap the sentinels of package state.
type Store interface {
	// WantPull creates or joins a pull, or renews the want of a holder, and returns the status of the pull. The
	// error is state.ErrFull if the deployment has too many pulls.
	WantPull(ctx context.Context, p state.Pull, w state.PullWant) (state.PullStatus, error)
	// ReleasePull ends the want of a holder after a time.
	ReleasePull(ctx context.Context, id, holder string, after time.Duration) error
	// EndPull ends a pull with a fault, in spite of its holders, or returns state.ErrNotFound.
	EndPull(ctx context.Context, id, fault string) error
	// FindPulls returns the status of those of the pulls that there are, by id.
	FindPulls(ctx context.Context, ids ...string) (map[string]state.PullStatus, error)
	// Pulls returns the pulls of the deployment.
	Pulls(ctx context.Context) ([]state.PullStatus, error)
	// PullWorkers returns the living workers.
	PullWorkers(ctx context.Context) ([]state.PullWorker, error)
}

// SFU is what a Service uses of LiveKit. Errors are *translate.Error.
type SFU interface {
	// Participant returns the present state of one participant.
	Participant(ctx context.Context, room translate.RoomName, id translate.Identity) (translate.Participant, error)
	// Follow moves a player to the tracks of another publisher.
	Follow(ctx context.Context, f translate.Following) error
}

// Deps are the dependencies of a Service.
type Deps struct {
	Config
	Deployment string
	Pod        string          // the holder
	Context    context.Context // of the pod
	Store      Store
	SFU        SFU
	// Settings returns what each application is allowed to play, by its key.
	Settings  func() map[string]*App
	Workers   *prometheus.GaugeVec // living workers; no value if no application may play sources
	Recovered func()               // deferred in every goroutine
	Log       zerolog.Logger
}

// Service holds the sources that this pod has players of. Its methods are safe for concurrent use.
type Service struct {
	deps     Deps
	starting serial.KeyLock // by application: from the count of its pulls to the new one
	census   census
	work     sync.WaitGroup
	whys     singleflight.Group // by id

	mu   sync.Mutex
	held map[string]*held // by id
}

// New returns a Service.
func New(d Deps) *Service {
	return &Service{deps: d, held: make(map[string]*held), census: census{store: d.Store}}
}

// Wait waits for the goroutines of all holds, after the end of Deps.Context.
func (s *Service) Wait() { s.work.Wait() }

// Pull is a source that a client plays. A nil Pull stands for an ordinary stream. It belongs to one player.
type Pull struct {
	// Name is the public name. It alone is logged, stored and shown to operators.
	Name   string
	said   string // the name that the client knows, which may have credentials
	record state.Pull
	rights pull.Rights
	played translate.Following
	holds  *held // guarded by Service.mu
}

// ID identifies the source in the deployment.
func (p *Pull) ID() string {
	if p == nil {
		return ""
	}
	return p.record.ID
}

// Said returns the name for the client and its backend only, "" for an ordinary stream.
func (p *Pull) Said() string {
	if p == nil {
		return ""
	}
	return p.said
}

// Say replaces the name for the client: a backend chose another source for it.
func (p *Pull) Say(name string) {
	if p != nil {
		p.said = name
	}
}

// Room returns the LiveKit room of the source.
func (p *Pull) Room() translate.RoomName { return translate.RoomName(p.record.Room) }

// Of returns the source that a name stands for in an application: nil if it is the name of a stream. The
// error is a *Failure.
func (s *Service) Of(appKey string, app *App, name string) (*Pull, error) {
	if s.deps.Keys == nil || len(app.Allow) == 0 || !pull.IsName(name) {
		return nil, nil
	}
	src, err := pull.Parse(name)
	rights := pull.Rights{Transcode: app.Transcode}
	if err == nil {
		rights.PublicOnly, err = app.Allow.Allowed(src)
	}
	if err != nil {
		return nil, failure(err, src.Scheme())
	}
	p := s.of(src.With(rights), name)
	p.record.App, p.record.UDP = appKey, app.UDP
	return p, nil
}

func (s *Service) of(src pull.Source, said string) *Pull {
	id := s.deps.Keys.ID(src)
	return &Pull{Name: src.Public(id), said: said, rights: src.Rights(), record: state.Pull{
		ID: id, Public: src.Public(id), Sealed: s.deps.Keys.Seal(src), Room: pull.Room(s.deps.Deployment, id), Retry: s.deps.Retry, CreatedAt: time.Now(),
		Transcode: src.Rights().Transcode,
	}}
}

// CheckSession returns a *Failure if a session that plays others must not play p.
func (s *Service) CheckSession(p *Pull, others []*Pull) error {
	ids := make(map[string]bool)
	for _, o := range others {
		if o.ID() != "" && o.ID() != p.ID() {
			ids[o.ID()] = true
		}
	}
	if p != nil && len(ids) >= s.deps.PerSession {
		return failure(&pull.Error{Fault: pull.TooMany, Detail: "of the session"}, "")
	}
	return nil
}

// Save returns what a pod needs to go on with a player's source: its description, and the name for the client
// unless it is the source's own.
func (s *Service) Save(p *Pull) (saved *state.Pull, said string) {
	if p == nil {
		return nil, ""
	}
	said = p.said
	src, err := pull.Parse(said)
	switch {
	case err == nil && slices.Contains(s.ids(src), p.record.ID):
		said = ""
	case err == nil: // a backend chose another source; the client's own address is kept without its secrets
		said = src.String()
	}
	return &p.record, said
}

// Restore returns the source of a player of a resumed session, nil for an ordinary stream. It can have been
// saved under another secret; then the client knows it by its public name.
func (s *Service) Restore(saved *state.Pull, said string) *Pull {
	if saved == nil {
		return nil
	}
	p := &Pull{Name: saved.Public, said: said, record: *saved}
	if said == "" {
		p.said = saved.Public
		if src, err := s.deps.open(*saved); err == nil {
			p.said = src.Reveal()
		}
	}
	return p
}

func (d *Deps) open(p state.Pull) (pull.Source, error) {
	if d.Keys == nil {
		return pull.Source{}, errNoKeys
	}
	return d.Keys.Open(p.ID, p.Sealed)
}

// Reserved reports whether a room is that of a source. Streams have no such rooms.
func Reserved(room translate.RoomName) bool { return pull.IsRoom(string(room)) }

// Failure is why a source is not played.
type Failure struct {
	Info   string // for the client
	Reason ends.Reason
	err    error
}

func (f *Failure) Error() string { return "pull: " + f.err.Error() }

// reasons are the reasons of ends by fault.
var reasons = map[pull.Fault]ends.Reason{
	pull.BadURL: ends.BadRequest, pull.Forbidden: ends.Forbidden, pull.Ended: ends.PublisherEnded, pull.NoWorker: ends.Overloaded,
	pull.TooMany: ends.Limit, pull.Terminated: ends.Terminated, pull.Internal: ends.LiveKitFailed,
}

// failure returns the failure for an error of package pull.
func failure(err error, scheme string) *Failure {
	fault, _ := pull.FaultOf(err)
	reason, ok := reasons[fault]
	if !ok {
		reason = ends.SourceFailed
	}
	return &Failure{Info: fault.Info(scheme), Reason: reason, err: err}
}

// IsForeign reports whether an error of Of says that the name is no source here. Another server can have it.
func IsForeign(err error) bool {
	var f *Failure
	return errors.As(err, &f) && (f.fault() == pull.Forbidden || f.fault() == pull.BadURL)
}

func (f *Failure) fault() pull.Fault {
	fault, _ := pull.FaultOf(f.err)
	return fault
}
