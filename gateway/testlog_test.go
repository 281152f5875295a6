package gateway

import (
	"io"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// testLog writes to the log of a test until it ends: a session without a name can log its end later.
type testLog struct {
	mu  sync.Mutex
	out io.Writer
}

func newTestLog(t *testing.T) *testLog {
	l := &testLog{out: zerolog.NewTestWriter(t)}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.out = io.Discard
	})
	return l
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(line)
}

// log returns the log of a pod.
func (w *world) log(t *testing.T) zerolog.Logger {
	if w.podLog != nil {
		return zerolog.New(w.podLog)
	}
	return zerolog.New(newTestLog(t))
}
