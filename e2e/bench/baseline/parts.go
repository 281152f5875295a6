package main

import (
	"context"
	"crypto/sha256"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Parts of the gateway's work for a new client that this server does if it is told to. With all of them, a
// handshake costs what is the least for a gateway.
const (
	partProtocol = "protocol" // connection is decoded and checked, and getUserData is built, with ids
	partLog      = "log"      // a line for each session
	partRedis    = "redis"    // sessions are registered
	partTimeouts = "timeouts" // of HTTP requests
)

const (
	requestTimeout = 10 * time.Second
	jsonDepth      = 32
)

// parts are the chosen ones.
type parts struct {
	names []string
	log   zerolog.Logger
	store *state.Redis // nil without partRedis
}

// newParts reads a list of parts. redis is the address for partRedis.
func newParts(list, redis string) *parts {
	p := &parts{names: strings.Split(list, ","), log: zerolog.New(os.Stderr).With().Timestamp().Logger()}
	if p.has(partRedis) {
		p.store = state.Open(state.Config{Addrs: []string{redis}}, state.Pod{Deployment: "baseline", ID: translate.NewPodTag()}, state.Deps{Log: p.log})
		go func() {
			_ = p.store.Run(context.Background(), state.Handlers{
				Event: func(state.Event) {}, TakenOver: func(state.Orphan) {}, Reset: func() {}, Lost: func() {}, Describe: func() state.Peer { return state.Peer{} },
			})
		}()
	}
	return p
}

func (p *parts) has(name string) bool { return slices.Contains(p.names, name) }

// limit sets the time limits of a public listener.
func (p *parts) limit(s *http.Server) {
	if p.has(partTimeouts) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = requestTimeout, requestTimeout, requestTimeout, requestTimeout
	}
}

// open returns the answer to a client's connection command, and what ends its session.
func (p *parts) open(frame []byte, remote string) (answer []byte, end func(), err error) {
	if wcs.Deeper(frame, jsonDepth) {
		return nil, nil, wcs.ErrMalformed
	}
	cmd, err := wcs.Decode(frame)
	if err != nil {
		return nil, nil, err
	}
	var c wcs.Connection
	if err := cmd.Bind(&c); err != nil {
		return nil, nil, err
	}
	id := "/" + remote + "/" + translate.RandomHex(16)
	token := id + "/" + translate.RandomHex(64)
	end = func() {}
	if p.store != nil {
		p.store.PutSession(state.Session{ID: id, App: c.AppKey, TokenHash: sha256.Sum256([]byte(token)), CreatedAt: time.Now()})
		end = func() { p.store.DropSession(id) }
	}
	if p.has(partLog) {
		p.log.Info().Str("remote", remote).Str("session", id).Str("app", c.AppKey).Msg("session established")
	}
	return wcs.UserData{Sent: c.Sent, MediaProviders: []string{wcs.ProviderWebRTC}, AuthToken: token, CollectMetrics: true}.Frame(), end, nil
}
