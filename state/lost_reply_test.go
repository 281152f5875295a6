package state

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"wcsgateway/e2e/rig"
)

// replyLoser has Redis run the first pipeline or command that contains a word, and loses its reply. It is
// added to a client before the client is used, and does nothing until lose is called.
type replyLoser struct {
	word atomic.Pointer[string] // nil: no reply is lost, or one was
}

func (h *replyLoser) lose(word string) { h.word.Store(&word) }

var errReplyLost = errors.New("read tcp: connection reset by peer")

func (h *replyLoser) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *replyLoser) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if h.loses(cmd, err) {
			err = errReplyLost
			cmd.SetErr(err)
		}
		return err
	}
}

func (h *replyLoser) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return h.loses(c, err) }) {
			err = errReplyLost
			for _, c := range cmds {
				c.SetErr(err)
			}
		}
		return err
	}
}

func (h *replyLoser) loses(cmd redis.Cmder, err error) bool {
	word := h.word.Load()
	return err == nil && word != nil && strings.Contains(cmd.String(), *word) && h.word.CompareAndSwap(word, nil)
}

// Whichever reply of a take-over is lost, each record is handed over, and once.
func TestLostReplyOfTakeOverHandsOverOnce(t *testing.T) {
	t.Parallel()
	for name, word := range map[string]string{
		"release of a stream":     "{stream:one}:record",
		"removal of a player":     "{stream:three}:players",
		"end of a session":        "session:a0",
		"release of a room":       "{room:roomApp/lobby}",
		"removal of the entries":  "hdel wcs:test:{pod:" + podA,
		"removal of the sessions": ":sessions a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quickConfig(rig.StartRedis(t).Addr)
			a, b := startMortal(t, cfg, podA), newPod(t, cfg, podB)
			h := new(replyLoser)
			b.client.AddHook(h)
			b.start(t)
			claimAll(t, b, testStream("three", "m3"))
			claimAll(t, a, testStream("one", "m1"), testStream("two", "m2"))
			playAll(t, a, testPlayer("three", "m4"))
			playAll(t, b, testPlayer("one", "m6"))
			lobby := Room{App: "roomApp", Name: "lobby"}
			for p, m := range map[*testPod]Member{a: {Login: "al", ID: "1"}, b: {Login: "bob", ID: "2"}} {
				_, err := p.SyncRoom(t.Context(), RoomUpdate{Room: lobby, Put: []Member{m}, MaxMembers: 10})
				must(t, err)
			}
			putSessions(a, "a", 2)
			awaitSessions(t, b, "a", 2, a.life())
			dead := a.life()
			if strings.HasPrefix(word, ":sessions") {
				word = "hdel wcs:test:{pod:" + dead.String() + "}:sessions"
			}
			a.end()
			h.lose(word)

			see := client(t, cfg)
			rig.Eventually(t, eventually, "the dead pod is forgotten", func() bool {
				listed, err := see.HExists(t.Context(), b.keys.pods(), dead.String()).Result()
				return err == nil && !listed
			})
			if h.word.Load() != nil {
				t.Fatal("no reply was lost")
			}
			want := []string{
				"player of three wcs.three play-m4", "room lobby of roomApp members on [" + podB + "]", "session a0", "session a1",
				"stream one wcs.one pub-m1 players on [" + podB + "]", "stream two wcs.two pub-m2 players on []",
			}
			if diff := cmp.Diff(want, b.taken()); diff != "" {
				t.Errorf("taken over (-want +got):\n%s", diff)
			}
			b.handedOver.mu.Lock()
			defer b.handedOver.mu.Unlock()
			if n := len(b.handedOver.entries); n != 0 {
				t.Errorf("%d indexes are still remembered", n)
			}
		})
	}
}

// A displacement whose reply was lost is repeated, also after the name was claimed again.
func TestDisplacementIsRepeatedAfterLostReply(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startPod(t, cfg, podA), newPod(t, cfg, podB)
	h := new(replyLoser)
	b.client.AddHook(h)
	b.start(t)
	claimAll(t, a, testStream("one", "m1"))
	playAll(t, a, testPlayer("one", "m2"))
	old, err := b.FindStream(t.Context(), "one")
	must(t, err)
	h.lose("{stream:one}:record")
	_, err = b.DisplaceStream(t.Context(), old)
	wantErr(t, err, ErrUnavailable)
	claimAll(t, b, testStream("one", "m3"))
	pods, err := b.DisplaceStream(t.Context(), old)
	must(t, err)
	if !slices.Equal(pods, []string{podA}) {
		t.Errorf("pods with players are %v", pods)
	}
	now, err := b.FindStream(t.Context(), "one")
	must(t, err)
	if now.MediaID != "m3" {
		t.Errorf("the stream is %+v", now)
	}
}

// pipelineHolder holds back the first pipeline that writes a session until release is closed.
type pipelineHolder struct {
	replyLoser
	held, release chan struct{}
}

func (h *pipelineHolder) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *pipelineHolder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return h.loses(c, nil) }) {
			close(h.held)
			<-h.release
			ctx = context.WithoutCancel(ctx)
		}
		return next(ctx, cmds)
	}
}

// A session is registered in two steps, and the pod is taken over between them.
func TestLateRegistrationOfDeadPodIsRejected(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Session{"plain": {ID: "a0"}, "resumable": {ID: "a0", Resumable: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quickConfig(rig.StartRedis(t).Addr)
			a, b := startMortal(t, cfg, podA), startPod(t, cfg, podB)
			dead := a.life()
			late := newPod(t, cfg, podA) // the dead pod's connection
			h := &pipelineHolder{held: make(chan struct{}), release: make(chan struct{})}
			h.lose("session:a0")
			late.client.AddHook(h)
			sent := make(chan error, 1)
			write, records := encodeSessions(dead, []Session{s})
			go func() {
				_, err := late.sendSessions(context.WithoutCancel(t.Context()), dead, write, records, nil)
				sent <- err
			}()
			<-h.held
			a.end()
			see := client(t, cfg)
			rig.Eventually(t, eventually, "the dead pod is forgotten", func() bool {
				listed, err := see.HExists(t.Context(), b.keys.pods(), dead.String()).Result()
				return err == nil && !listed
			})
			close(h.release)
			must(t, <-sent)
			_, err := b.FindSession(t.Context(), "a0")
			wantErr(t, err, ErrNotFound)
			must(t, late.client.Close())
		})
	}
}

// A pod that was taken over while it lived registers its sessions in its next life.
func TestPodTakenOverRegistersPlainSessionsAgain(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	a, b := startPod(t, cfg, podA), startPod(t, cfg, podB)
	putSessions(a, "a", 1)
	first := a.life()
	awaitSessions(t, b, "a", 1, first)
	_, err := b.releaseAllOf(t.Context(), first)
	must(t, err)
	_, err = b.FindSession(t.Context(), "a0")
	wantErr(t, err, ErrNotFound)
	must(t, client(t, cfg).Set(t.Context(), b.keys.taken(first), b.life().String(), time.Hour).Err())
	rig.Eventually(t, eventually, "the pod has another life", func() bool { return a.life() != first })
	awaitSessions(t, b, "a", 1, a.life())
}
