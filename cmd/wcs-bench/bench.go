package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"wcsgateway/internal/wcsclient"
	"wcsgateway/translate/wcs"
)

// Steps. Each is counted as started, and then as done, failed, or cut off by the end of the run.
const (
	stepConnect   = "connect"
	stepReconnect = "reconnect" // after a storm
	stepPublish   = "publish"
	stepRepublish = "republish" // after a storm
	stepPlay      = "play"
	stepHold      = "hold" // a session or a stream lasts as long as the load
	stepUnpublish = "unpublish"
	stepNotice    = "notice" // a player is notified that the publisher left
	stepCycle     = "cycle"  // of churn; it fails if all slots are in use
)

func steps() []string {
	return []string{stepConnect, stepReconnect, stepPublish, stepRepublish, stepPlay, stepHold, stepUnpublish, stepNotice, stepCycle}
}

// Latencies.
const (
	tookConnect      = "connect → getUserData"
	tookReconnect    = "reconnect → getUserData"
	tookPublishSDP   = "publishStream → setRemoteSDP"
	tookPublishing   = "publishStream → PUBLISHING"
	tookRepublishSDP = "republish → setRemoteSDP"
	tookRepublish    = "republish → PUBLISHING"
	tookPlaySDP      = "playStream → setRemoteSDP"
	tookPlaying      = "playStream → PLAYING"
	tookMedia        = "PLAYING → first RTP"
	tookUnpublished  = "unPublishStream → UNPUBLISHED"
	tookNotice       = "unPublishStream → player's FAILED"
)

func timings() []string {
	return []string{
		tookConnect, tookReconnect, tookPublishSDP, tookPublishing, tookRepublishSDP, tookRepublish, tookPlaySDP, tookPlaying, tookMedia, tookUnpublished, tookNotice,
	}
}

// bench is a run. Its steps are a client's actions, each counted and timed.
type bench struct {
	o       options
	server  *server
	media   *wcsclient.Media
	records *records
	id      string // part of the names of this run's streams

	names                     atomic.Int64
	open, publishing, playing atomic.Int64
	units                     sync.WaitGroup // everything that the scenario started
}

func newBench(o options, m *wcsclient.Media) *bench {
	return &bench{o: o, server: newServer(o), media: m, records: newRecords(), id: "bench-" + strings.ToLower(rand.Text()[:8])}
}

// name returns a unique name for a stream or media session.
func (b *bench) name() string { return fmt.Sprintf("%s-%d", b.id, b.names.Add(1)) }

// withTimeout returns a context whose timeout is worded for the report.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("timeout of %v", d))
}

// step counts do's result and bounds its time. A step that ends because ctx ended is neither done nor failed.
func (b *bench) step(ctx context.Context, name string, do func(ctx context.Context) error) error {
	b.records.start(name)
	bounded, cancel := withTimeout(ctx, b.o.timeout)
	defer cancel()
	err := do(bounded)
	switch {
	case err == nil:
		b.records.done(name)
	case ctx.Err() == nil:
		b.records.fail(name, err)
	}
	return err
}

func (b *bench) connect(ctx context.Context, step, timing string) (*session, error) {
	var s *session
	err := b.step(ctx, step, func(ctx context.Context) error {
		began := time.Now()
		opened, at, err := b.server.dial(ctx)
		if err != nil {
			return err
		}
		s = opened
		b.records.took(timing, at.Sub(began))
		b.open.Add(1)
		return nil
	})
	return s, err
}

func (b *bench) disconnect(s *session) {
	s.Close()
	b.open.Add(-1)
}

// cast is a stream with its session and its peer.
type cast struct {
	*stream
	session *session
	peer    *wcsclient.Peer
	count   *atomic.Int64 // of publishing or playing streams
}

// direction holds the differences between publishing and playing.
type direction struct {
	step, answer, started string
	command               wcs.Name
	status                wcs.Status // of a started stream
	newPeer               func() (*wcsclient.Peer, error)
	count                 *atomic.Int64
}

func (b *bench) publisher() direction {
	return direction{stepPublish, tookPublishSDP, tookPublishing, wcs.CmdPublishStream, wcs.StatusPublishing, b.media.NewPublisher, &b.publishing}
}

func (b *bench) player() direction {
	return direction{stepPlay, tookPlaySDP, tookPlaying, wcs.CmdPlayStream, wcs.StatusPlaying, b.media.NewPlayer, &b.playing}
}

// cast opens a session and a stream on it. A player's step lasts until media arrives.
func (b *bench) cast(ctx context.Context, d direction, name string) (*cast, error) {
	s, err := b.connect(ctx, stepConnect, tookConnect)
	if err != nil {
		return nil, err
	}
	c, err := b.castOn(ctx, s, d, name)
	if err != nil {
		b.disconnect(s)
	}
	return c, err
}

func (b *bench) castOn(ctx context.Context, s *session, d direction, name string) (*cast, error) {
	c := &cast{session: s, count: d.count}
	err := b.step(ctx, d.step, func(ctx context.Context) error {
		var err error
		if c.peer, err = d.newPeer(); err != nil {
			return fmt.Errorf("new peer: %w", err)
		}
		if err = b.begin(ctx, c, d, name); err != nil {
			c.peer.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.count.Add(1)
	return c, nil
}

func (b *bench) begin(ctx context.Context, c *cast, d direction, name string) (err error) {
	began := time.Now()
	if c.stream, err = c.session.begin(d.command, b.name(), name, c.peer); err != nil {
		return err
	}
	answer, err := c.session.await(ctx, c.stream, c.answer, string(wcs.NoteSetRemoteSDP))
	if err != nil {
		return err
	}
	b.records.took(d.answer, answer.at.Sub(began))
	if err := c.peer.Answer(answer.text); err != nil {
		return fmt.Errorf("take the answer: %w", err)
	}
	started, err := c.session.await(ctx, c.stream, c.started, string(d.status))
	if err != nil {
		return err
	}
	b.records.took(d.started, started.at.Sub(began))
	if d.command == wcs.CmdPlayStream {
		return b.awaitMedia(ctx, c, started.at)
	}
	return nil
}

// awaitMedia records 0 ms if media arrived before PLAYING.
func (b *bench) awaitMedia(ctx context.Context, c *cast, playing time.Time) error {
	select {
	case at := <-c.peer.First():
		b.records.took(tookMedia, max(0, at.Sub(playing)))
		return nil
	case <-c.ended:
		return c.lost()
	case <-c.session.Done():
		return c.session.Err()
	case <-ctx.Done():
		return fmt.Errorf("no RTP: %w", context.Cause(ctx))
	}
}

// stop ends the session and the peer.
func (b *bench) stop(c *cast) {
	b.disconnect(c.session)
	c.dispose()
}

// dispose closes the peer.
func (c *cast) dispose() {
	c.peer.Close()
	c.count.Add(-1)
}

// hold waits until the end of the load, and fails if the session or the stream ends before. st can be nil.
func (b *bench) hold(s *session, st *stream, until <-chan struct{}) error {
	b.records.start(stepHold)
	err := lost(s, st, until)
	if err != nil {
		b.records.fail(stepHold, err)
	} else {
		b.records.done(stepHold)
	}
	return err
}

func lost(s *session, st *stream, until <-chan struct{}) (err error) {
	var ended <-chan struct{}
	if st != nil {
		ended = st.ended
	}
	select {
	case <-until:
		return nil
	case <-ended:
		err = st.lost()
	case <-s.Done():
		err = s.Err()
	}
	select {
	case <-until: // both are ready: the end was expected
		return nil
	default:
		return err
	}
}
