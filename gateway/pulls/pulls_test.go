package pulls

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/state/statetest"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

const (
	secret = "0123456789abcdef0123456789abcdef"
	camera = "rtsp://admin:hunter2@cam.example.com/live?key=hunter3"
)

// room is LiveKit with the participants of workers.
type room struct {
	mu    sync.Mutex
	there map[translate.Identity]bool
	err   error

	followed []translate.Following
}

func (r *room) Participant(_ context.Context, _ translate.RoomName, id translate.Identity) (translate.Participant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return translate.Participant{}, r.err
	case !r.there[id]:
		return translate.Participant{}, &translate.Error{Kind: translate.ErrKindNotFound}
	}
	return translate.Participant{Identity: id, Active: true, SID: "PA_" + string(id), Tracks: []translate.Track{{SID: "TR_1", Kind: translate.Video}}}, nil
}

func (r *room) Follow(_ context.Context, f translate.Following) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followed = append(r.followed, f)
	return r.err
}

func (r *room) publish(id string, generation int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.there[translate.Identity(pull.Identity(id, generation))] = true
}

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.there)
}

// pods are services that share a store and a room.
type pods struct {
	store *statetest.Pulls
	room  *room
	apps  map[string]*App
	log   strings.Builder
}

func newPods(t *testing.T) *pods {
	t.Helper()
	allow, err := pull.ParseAllow([]string{"rtsp://*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w := &pods{store: statetest.NewPulls(), room: &room{there: make(map[translate.Identity]bool)}, apps: map[string]*App{"shop": {Allow: allow}}}
	w.store.SetWorkers(state.PullWorker{ID: "w1", Max: 10})
	return w
}

// pod starts a service. It ends with the test.
func (w *pods) pod(t *testing.T, name string) *Service {
	t.Helper()
	keys, err := pull.NewKeys(secret, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := New(Deps{
		Config:     Config{Keys: keys, Linger: 30 * time.Second, Retry: time.Minute, Max: 4, PerApp: 2, PerSession: 1},
		Deployment: "test", Pod: name, Context: ctx, Store: w.store, SFU: w.room, Settings: func() map[string]*App { return w.apps },
		Workers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "workers"}, nil), Recovered: func() {}, Log: zerolog.New(&w.log),
	})
	t.Cleanup(func() {
		cancel()
		s.Wait()
	})
	return s
}

func (w *pods) source(t *testing.T, s *Service, name string) *Pull {
	t.Helper()
	p, err := s.Of("shop", w.apps["shop"], name)
	if err != nil || p == nil {
		t.Fatalf("source of %s: %v, %v", name, p, err)
	}
	return p
}

// work runs a pull as a worker.
func (w *pods) work(id, worker string) {
	w.store.Report(id, worker, string(pull.Running), "")
	found, _ := w.store.FindPulls(context.Background(), id)
	w.room.publish(id, found[id].Generation)
}

var client = netip.MustParseAddr("192.0.2.1")

type joined struct {
	publisher translate.Participant
	err       error
}

// playing returns the camera with a player on a pod, and a worker that has it.
func (w *pods) playing(t *testing.T, s *Service) *Pull {
	t.Helper()
	p := w.source(t, s, camera)
	wait := join(t, s, p)
	synctest.Wait()
	w.work(p.ID(), "w1")
	<-wait
	return p
}

func join(t *testing.T, s *Service, p *Pull) <-chan joined {
	done := make(chan joined, 1)
	go func() {
		publisher, err := s.Join(t.Context(), p, client)
		done <- joined{publisher, err}
	}()
	return done
}

func info(t *testing.T, err error) string {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("error %v is no failure", err)
	}
	return f.Info
}

func TestNamesOfSourcesAreThoseThatAnApplicationAllows(t *testing.T) {
	w := newPods(t)
	s := w.pod(t, "a")
	for _, tt := range []struct{ name, info string }{
		{"camera", "-"},
		{"ftp://cam.example.com/x", "-"},
		{"rtsp://cam.example.com/x", ""},
		{"RTSP://CAM.example.com:554/x", ""},
		{"rtsp://cam.example.com:8554/x", "Restricted access"},
		{"rtsp://example.org/x", "Restricted access"},
		{"http://cam.example.com/x", "Restricted access"},
		{"rtsp://cam.example.com:99999/x", "Bad URI"},
	} {
		p, err := s.Of("shop", w.apps["shop"], tt.name)
		switch {
		case tt.info == "" && (err != nil || p == nil || p.Said() != tt.name):
			t.Errorf("%s: %v, %v", tt.name, p, err)
		case tt.info == "-" && (err != nil || p != nil):
			t.Errorf("%s: %v, %v, want an ordinary name", tt.name, p, err)
		case tt.info != "" && tt.info != "-" && (info(t, err) != tt.info || !IsForeign(err)):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if p, err := s.Of("shop", &App{}, "rtsp://cam.example.com/x"); p != nil || err != nil {
		t.Errorf("application without a list: %v, %v", p, err)
	}
}

func TestCredentialsAreInNoNameThatIsStored(t *testing.T) {
	w := newPods(t)
	s := w.pod(t, "a")
	p := w.source(t, s, camera)
	other := w.source(t, s, strings.Replace(camera, "hunter2", "hunter4", 1))
	if p.ID() == other.ID() || p.Name == other.Name {
		t.Error("two sources that differ in the password are one")
	}
	saved, said := s.Save(p)
	for _, text := range []string{p.Name, string(p.Room()), saved.Public, saved.Room, string(saved.Sealed), said} {
		if strings.Contains(text, "hunter") {
			t.Errorf("%q has a credential", text)
		}
	}
	if got := s.Restore(saved, said); got.Said() != camera || got.Name != p.Name || got.ID() != p.ID() {
		t.Errorf("restored %q, %q", got.Said(), got.Name)
	}
	p.Say("door")
	saved, said = s.Save(p)
	if got := s.Restore(saved, said); got.Said() != "door" {
		t.Errorf("restored %q, want the client's name", got.Said())
	}
	p.Say("rtsp://cam.example.com/of-the-client")
	saved, said = s.Save(p)
	if got := s.Restore(saved, said); got.Said() != "rtsp://cam.example.com" {
		t.Errorf("restored %q, want what is no secret of the client's address", got.Said())
	}
}

func TestPlayersOfAllPodsShareOnePull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a, b := w.pod(t, "a"), w.pod(t, "b")
		first, second, third := w.source(t, a, camera), w.source(t, a, camera), w.source(t, b, camera)
		waits := []<-chan joined{join(t, a, first), join(t, a, second), join(t, b, third)}
		synctest.Wait()
		if len(w.store.Wanted()) != 1 {
			t.Fatalf("%d pulls were started, want 1", len(w.store.Wanted()))
		}
		w.work(first.ID(), "w1")
		for _, wait := range waits {
			got := <-wait
			if got.err != nil || !got.publisher.Identity.Native() || got.publisher.SID == "" {
				t.Errorf("joined %+v", got)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := w.store.Holders(first.ID()); len(h) != 2 {
			t.Errorf("holders %v, want both pods", h)
		}
		a.Leave(first)
		a.Leave(first)
		synctest.Wait()
		if left := w.store.Holders(first.ID())["a"]; left <= 30*time.Second {
			t.Errorf("pod with a player holds the pull for %v", left)
		}
		a.Leave(second)
		b.Leave(third)
		synctest.Wait()
		for pod, left := range w.store.Holders(first.ID()) {
			if left != 30*time.Second {
				t.Errorf("pod %s without players holds the pull for %v, want the linger", pod, left)
			}
		}
		time.Sleep(31 * time.Second)
		if h := w.store.Holders(first.ID()); len(h) != 0 {
			t.Errorf("holders %v after the linger", h)
		}
	})
}

func TestPlayerWithinLingerJoinsTheSamePull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		p := w.playing(t, a)
		a.Leave(p)
		time.Sleep(20 * time.Second)
		p = w.source(t, a, camera)
		if got := <-join(t, a, p); got.err != nil {
			t.Fatal(got.err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := w.store.Holders(p.ID()); len(h) != 1 || len(w.store.Wanted()) != 1 {
			t.Errorf("holders %v, %d starts", h, len(w.store.Wanted()))
		}
	})
}

func TestWithoutWorkerAPlayFailsWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		for _, tt := range []struct {
			name    string
			workers []state.PullWorker
		}{
			{"none is alive", nil},
			{"all are full", []state.PullWorker{{ID: "w1", Running: 3, Max: 3}}},
			{"one is alive and takes nothing", []state.PullWorker{{ID: "w1", Max: 3}}},
		} {
			w.store.SetWorkers(tt.workers...)
			p := w.source(t, a, camera)
			began := time.Now()
			got := <-join(t, a, p)
			if took := time.Since(began); info(t, got.err) != "No worker for pulled streams is available" || took > 2*time.Second {
				t.Errorf("%s: %v after %v", tt.name, got.err, took)
			}
			a.Leave(p)
			synctest.Wait()
			if h := w.store.Holders(p.ID()); len(h) != 0 {
				t.Errorf("%s: holders %v", tt.name, h)
			}
			time.Sleep(3 * time.Second)
		}
	})
}

func TestPlayersGetTheFaultOfTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		p := w.source(t, a, camera)
		wait := join(t, a, p)
		synctest.Wait()
		w.store.Report(p.ID(), "w1", string(pull.Connecting), "")
		time.Sleep(10 * time.Second) // a worker has it
		w.store.Report(p.ID(), "w1", string(pull.Failed), string(pull.NotFound))
		if got := <-wait; info(t, got.err) != "Rtsp stream not found" {
			t.Errorf("error %v", got.err)
		}
		late := w.source(t, a, camera)
		if got := <-join(t, a, late); info(t, got.err) != "Rtsp stream not found" {
			t.Errorf("error of a player soon after: %v", got.err)
		}
		a.Leave(p)
		a.Leave(late)
		time.Sleep(5 * time.Second)
		p = w.source(t, a, camera)
		wait = join(t, a, p)
		synctest.Wait()
		w.work(p.ID(), "w1")
		if got := <-wait; got.err != nil {
			t.Errorf("a later player does not start the pull again: %v", got.err)
		}
		if f := a.Why(t.Context(), p); f != nil {
			t.Errorf("pull that runs ended: %v", f)
		}
		w.store.Report(p.ID(), "w1", string(pull.Failed), string(pull.Lost))
		if f := a.Why(t.Context(), p); f == nil || f.Info != "RtspAgent shutdown" {
			t.Errorf("why it ended: %v", f)
		}
	})
}

func TestPlayerAfterWorkerDiedGetsTheNextOnesPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		p := w.source(t, a, camera)
		wait := join(t, a, p)
		synctest.Wait()
		w.work(p.ID(), "w1")
		before := <-wait
		w.room.leave()
		w.store.Die(p.ID())
		time.Sleep(2 * time.Second)
		late := w.source(t, a, camera)
		wait = join(t, a, late)
		time.Sleep(8 * time.Second)
		w.work(p.ID(), "w2")
		if got := <-wait; got.err != nil || got.publisher.Identity == before.publisher.Identity {
			t.Errorf("joined %+v, before %s", got, before.publisher.Identity)
		}
	})
}

func TestStoreThatLostPullsGetsThemAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		p := w.playing(t, a)
		w.store.SetAway(true)
		time.Sleep(20 * time.Second)
		w.store.Lose()
		w.store.SetAway(false)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if h := w.store.Holders(p.ID()); len(h) != 1 {
			t.Errorf("holders %v", h)
		}
		found, _ := w.store.FindPulls(t.Context(), p.ID())
		if st := found[p.ID()]; st.State != string(pull.Running) || st.Generation != 1 {
			t.Errorf("status %+v: its worker loses it", st)
		}
	})
}

func TestResumedSessionHoldsItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a, b := w.pod(t, "a"), w.pod(t, "b")
		p := w.playing(t, a)
		saved, said := a.Save(p)
		moved := b.Restore(saved, said)
		b.Rejoin(moved)
		a.Leave(p)
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := w.store.Holders(p.ID()); len(h) != 1 || h["b"] == 0 {
			t.Errorf("holders %v, want the pod that resumed the session", h)
		}
		b.Leave(moved)
		b.Leave(nil)
		b.Rejoin(nil)
	})
}

// slowStore answers releases late, as a busy Redis, and counts lists.
type slowStore struct {
	Store
	lists *atomic.Int32
}

func (s slowStore) ReleasePull(ctx context.Context, id, holder string, after time.Duration) error {
	time.Sleep(50 * time.Millisecond)
	return s.Store.ReleasePull(ctx, id, holder, after)
}

func (s slowStore) Pulls(ctx context.Context) ([]state.PullStatus, error) {
	s.lists.Add(1)
	return s.Store.Pulls(ctx)
}

func TestPlayerAtTheEndOfAHoldGetsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		a.deps.Store = slowStore{w.store, new(atomic.Int32)}
		p := w.source(t, a, camera)
		first := join(t, a, p)
		synctest.Wait()
		w.store.Report(p.ID(), "w1", string(pull.Failed), string(pull.NotFound))
		<-first
		a.Leave(p)
		for range 100 {
			began := time.Now()
			late := w.source(t, a, camera)
			got := <-join(t, a, late)
			a.Leave(late)
			if took := time.Since(began); got.err == nil || took > 3*time.Second {
				t.Fatalf("the player waited %v for %v", took, got.err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// Clients cannot make a pod list all pulls for each of their questions.
func TestQuestionsOfClientsShareAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		lists := new(atomic.Int32)
		a.deps.Store, a.census.store = slowStore{w.store, lists}, slowStore{w.store, lists}
		for i := range 500 {
			if err := a.Available(t.Context(), w.source(t, a, fmt.Sprintf("rtsp://cam.example.com/%d", i))); err != nil {
				t.Fatal(err)
			}
		}
		if n := lists.Load(); n != 1 {
			t.Errorf("%d lists for 500 questions at a time", n)
		}
	})
}

// Applications that differ in the transport share a camera: that of the first counts.
func TestFirstPlayerDecidesTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		w.apps["lan"] = &App{Allow: w.apps["shop"].Allow, UDP: true}
		a := w.pod(t, "a")
		first, err := a.Of("lan", w.apps["lan"], camera)
		if err != nil {
			t.Fatal(err)
		}
		second := w.source(t, a, camera)
		if first.ID() != second.ID() || !first.record.UDP || second.record.UDP {
			t.Fatalf("first %+v, second %+v", first.record, second.record)
		}
		b := w.pod(t, "b")
		waits := []<-chan joined{join(t, a, first)}
		synctest.Wait()
		waits = append(waits, join(t, b, second))
		synctest.Wait()
		defer a.Leave(first)
		defer b.Leave(second)
		if !w.store.Record(first.ID()).UDP {
			t.Error("the second player changed the transport")
		}
		w.work(first.ID(), "w1")
		for _, wait := range waits {
			if got := <-wait; got.err != nil {
				t.Error(got.err)
			}
		}
	})
}

// An application does not get what only another one may have, nor its failures.
func TestApplicationsWithOtherRightsDoNotShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		every, err := pull.ParseAllow([]string{"rtsp://*"})
		if err != nil {
			t.Fatal(err)
		}
		w.apps["other"], w.apps["every"] = &App{Allow: w.apps["shop"].Allow, Transcode: true}, &App{Allow: every}
		a := w.pod(t, "a")
		p := w.source(t, a, camera)
		wait := join(t, a, p)
		synctest.Wait()
		w.store.Report(p.ID(), "w1", string(pull.Failed), string(pull.NeedsTranscoding))
		<-wait
		a.Leave(p)
		for _, key := range []string{"other", "every"} {
			q, err := a.Of(key, w.apps[key], camera)
			if err != nil || q.ID() == p.ID() || q.record.Transcode != (key == "other") {
				t.Fatalf("%s: %+v, %v", key, q, err)
			}
			wait := join(t, a, q)
			synctest.Wait()
			w.work(q.ID(), "w1")
			if got := <-wait; got.err != nil {
				t.Errorf("%s: %v", key, got.err)
			}
			src, err := a.deps.open(w.store.Record(q.ID()))
			if err != nil || src.Rights().PublicOnly != (key == "every") {
				t.Errorf("%s: the worker has %+v, %v", key, src.Rights(), err)
			}
			if room, publisher, err := a.Find(t.Context(), camera); err != nil || publisher == "" || room == "" {
				t.Errorf("%s: found %s, %v", key, publisher, err)
			}
			if got := a.Stored(camera); len(got) != 3 || !slices.Contains(got, q.Name) {
				t.Errorf("stored under %q", got)
			}
			defer a.Leave(q)
		}
		all, err := a.List(t.Context(), camera)
		if err != nil || len(all) != 2 {
			t.Errorf("list %+v, %v", all, err)
		}
	})
}

func TestAvailableDoesNotStartAPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPods(t)
		a := w.pod(t, "a")
		p := w.source(t, a, camera)
		if err := a.Available(t.Context(), p); err != nil {
			t.Error(err)
		}
		if len(w.store.Wanted()) != 0 {
			t.Error("the question started a pull")
		}
		w.store.SetWorkers()
		time.Sleep(time.Second)
		if err := a.Available(t.Context(), p); info(t, err) != "No worker for pulled streams is available" {
			t.Error(err)
		}
		if _, publisher, err := a.Find(t.Context(), camera); publisher != "" || err != nil {
			t.Errorf("found %s, %v", publisher, err)
		}
		w.store.SetWorkers(state.PullWorker{ID: "w1", Max: 1})
		time.Sleep(time.Second)
		wait := join(t, a, p)
		synctest.Wait()
		w.work(p.ID(), "w1")
		<-wait
		w.store.SetWorkers()
		if err := a.Available(t.Context(), p); err != nil {
			t.Errorf("source that is pulled: %v", err)
		}
		for _, name := range []string{camera, p.Name} {
			if room, publisher, err := a.Find(t.Context(), name); room != p.Room() || publisher == "" || err != nil {
				t.Errorf("find %s: %s, %s, %v", name, room, publisher, err)
			}
		}
	})
}
