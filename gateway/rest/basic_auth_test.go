package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/realip"
	"wcsgateway/gateway/sampled"
)

func as(user, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func TestBasicAuthIsRequired(t *testing.T) {
	w := serve(t, Config{Users: users(t)}, nil)
	for _, tt := range []struct {
		login  func(*http.Request)
		status int
	}{
		{as("ops", "secret"), 200},
		{as("ops", "secret"), 200}, // now cached
		{as("ops", "wrong"), 401},
		{as("ops", ""), 401},
		{as("nobody", "secret"), 401},
		{as("ops", strings.Repeat("x", 100)), 401},
		{nil, 401},
	} {
		r := w.do(t, http.MethodGet, prefix+"/stream/find_all", "", tt.login)
		if r.status != tt.status || (tt.status == 401) != strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic") || strings.Contains(r.body, "mediaSessionId") != (tt.status == 200) {
			t.Errorf("%d %s, want %d", r.status, r.body, tt.status)
		}
	}
	if r := w.do(t, http.MethodGet, "/?action=stat", "", nil); r.status != 401 {
		t.Errorf("statistics without a password: %d", r.status)
	}
	if r := w.do(t, http.MethodGet, prefix+"/nothing", "", nil); r.status != 401 {
		t.Errorf("unknown path without a password: %d", r.status)
	}
	open := serve(t, Config{Users: users(t), OpenStatistics: true}, nil)
	if r := open.do(t, http.MethodGet, "/?action=stat", "", nil); r.status != 200 {
		t.Errorf("open statistics: %d", r.status)
	}
	if strings.Contains(w.log.String(), "secret") || strings.Contains(w.log.String(), "wrong") {
		t.Errorf("a password is in the log: %s", w.log)
	}
}

func TestFailedLoginsAreLimitedByAddress(t *testing.T) {
	proxies := realip.Proxies{netip.MustParsePrefix("127.0.0.0/8")}
	w := serve(t, Config{Users: users(t), Proxies: proxies}, nil)
	login := func(from, password string) int {
		return w.do(t, http.MethodGet, prefix+"/stream/find_all", "", func(r *http.Request) {
			r.SetBasicAuth("ops", password)
			r.Header.Set("X-Forwarded-For", from)
		}).status
	}
	if status := login("192.0.2.2", "secret"); status != 200 {
		t.Fatalf("got %d", status)
	}
	rejected := 0
	for range 3 * failureBurst {
		switch status := login("192.0.2.1", "guess"); status {
		case 429:
			rejected++
		case 401:
		default:
			t.Fatalf("got %d", status)
		}
	}
	if rejected == 0 {
		t.Error("failed logins of an address are not limited")
	}
	for i := range failureBurst {
		login(fmt.Sprintf("2001:db8::%d", i), "guess")
	}
	if status := login("2001:db8::ffff", "guess"); status != 429 {
		t.Errorf("another address of the same network: %d", status)
	}
	if status := login("192.0.2.3", "guess"); status != 401 {
		t.Errorf("another address: %d", status)
	}
	if status := login("192.0.2.1", "secret"); status != 200 {
		t.Errorf("a verified password from the limited address: %d", status)
	}
}

// Parallel attempts are limited like sequential ones, and a correct login only waits for hashes in progress.
func TestParallelFailedLoginsAreLimited(t *testing.T) {
	w := serve(t, Config{Users: users(t), Proxies: realip.Proxies{netip.MustParsePrefix("127.0.0.0/8")}}, nil)
	get := func(from, password string) int {
		return w.do(t, http.MethodGet, prefix+"/stream/find_all", "", func(r *http.Request) {
			r.SetBasicAuth("ops", password)
			r.Header.Set("X-Forwarded-For", from)
		}).status
	}
	var guesses, logins sync.WaitGroup
	var wrong, rejected, accepted atomic.Int32
	began := time.Now()
	for range 100 {
		guesses.Go(func() {
			switch get("192.0.2.1", "guess") {
			case 401:
				wrong.Add(1)
			case 429:
				rejected.Add(1)
			}
		})
	}
	for range 2 * failureBurst { // as a starting backend sends them
		logins.Go(func() {
			if get("192.0.2.2", "secret") == 200 {
				accepted.Add(1)
			}
		})
	}
	guesses.Wait()
	logins.Wait()
	most := failureBurst + 1 + int32(time.Since(began)/failureInterval)
	if wrong.Load() > most || wrong.Load()+rejected.Load() != 100 {
		t.Errorf("%d passwords were checked and %d rejected, want at most %d checked", wrong.Load(), rejected.Load(), most)
	}
	if accepted.Load() != 2*failureBurst {
		t.Errorf("%d of %d correct logins accepted", accepted.Load(), 2*failureBurst)
	}
}

func TestStoredFailuresAreBounded(t *testing.T) {
	d := newBasicAuth(users(t))
	for i := range maxAddresses + 10 {
		d.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if n := d.failures.Len(); n > maxAddresses {
		t.Errorf("%d addresses are stored", n)
	}
}

func TestActionsAreAudited(t *testing.T) {
	w := serve(t, Config{Users: users(t)}, nil)
	for _, tt := range []struct{ path, body, target, result string }{
		{"/stream/terminate", `{"name":"s","published":false}`, "name=s published=false", "ok"},
		{"/stream/terminate", `{}`, "everything", "bad request"},
		{"/connection/terminate", `{"sessionId":"/9"}`, "sessionId=/9", "nothing found"},
		{"/stream/snapshot", `{"streamName":"s"}`, "streamName=s", "ok"},
		{"/stream/startRecording", `{"mediaSessionId":"pub"}`, "mediaSessionId=pub", "ok"},
		{"/stream/event/send", `{"mediaSessionId":"pub","payload":"confidential"}`, "mediaSessionId=pub", "ok"},
		{"/data/send", `{"sessionId":"/1","payload":"confidential"}`, "sessionId=/1", "ok"},
	} {
		w.log.text.Reset()
		w.do(t, http.MethodPost, prefix+tt.path, tt.body, as("ops", "secret"))
		var line struct{ Level, Audit, User, Remote, Target, Result string }
		for text := range strings.Lines(w.log.String()) {
			if strings.Contains(text, `"audit"`) {
				if err := json.Unmarshal([]byte(text), &line); err != nil {
					t.Fatal(err)
				}
			}
		}
		if line.Level != "info" || "/"+line.Audit != tt.path || line.User != "ops" || !strings.HasPrefix(line.Remote, "127.0.0.1:") ||
			!strings.Contains(line.Target, tt.target) || !strings.Contains(line.Result, tt.result) {
			t.Errorf("%s %s: %+v", tt.path, tt.body, line)
		}
		if strings.Contains(w.log.String(), "confidential") || strings.Contains(w.log.String(), "secret") {
			t.Errorf("payload or password in the log: %s", w.log)
		}
	}
	w.log.text.Reset()
	w.do(t, http.MethodGet, prefix+"/stream/find_all", "", as("ops", "secret"))
	if strings.Contains(w.log.String(), "audit") {
		t.Errorf("a query is audited: %s", w.log)
	}
}

// Rejected actions are audited, independent of log.level. Failed logins are logged at a bounded rate.
func TestRejectedActionsAreAudited(t *testing.T) {
	level := zerolog.GlobalLevel() // which log.level sets
	defer zerolog.SetGlobalLevel(level)
	zerolog.SetGlobalLevel(zerolog.ErrorLevel)
	w := serve(t, Config{Users: users(t)}, nil)
	foreign := func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }
	for _, tt := range []struct {
		method string
		change func(*http.Request)
		status string
	}{
		{http.MethodPost, as("ops", "secret"), `"status":200`},
		{http.MethodPost, as("ops", "wrong"), `"status":401`},
		{http.MethodPost, nil, `"status":401`},
		{http.MethodPost, foreign, `"status":403`},
		{http.MethodDelete, nil, `"status":405`},
	} {
		w.log.text.Reset()
		w.do(t, tt.method, prefix+"/stream/terminate", `{"name":"s"}`, tt.change)
		if text := w.log.String(); strings.Count(text, `"audit":"stream/terminate"`) != 1 || !strings.Contains(text, tt.status) || !strings.Contains(text, `"level":"info"`) {
			t.Errorf("want %s: %s", tt.status, text)
		}
	}
	w.log.text.Reset()
	began := time.Now()
	const tries = 200
	for range tries {
		w.do(t, http.MethodPost, prefix+"/stream/terminate", "", nil)
	}
	if n, most := strings.Count(w.log.String(), `"audit"`), sampled.LinesPerSecond*(2+int(time.Since(began)/time.Second)); n == 0 || n > most {
		t.Errorf("%d lines for %d rejected acts, at most %d may be", n, tries, most)
	}
}
