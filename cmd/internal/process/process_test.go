package process

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wcsgateway/cmd/internal/config"
)

func TestSecondSignalEndsAtOnce(t *testing.T) {
	signals := make(chan os.Signal)
	drained, ended := make(chan struct{}), make(chan struct{})
	go HandleSignals(signals, func() { close(drained) }, func() { close(ended) })
	signals <- syscall.SIGTERM
	<-drained
	signals <- os.Interrupt
	<-ended
}

func TestLoggerWritesJSONFromItsLevel(t *testing.T) {
	var b bytes.Buffer
	log := Logger(config.Log{Level: "warn", Format: "json"}, &b, false)
	log.Info().Msg("quiet")
	log.Warn().Str("app", "a").Msg("loud")
	var line struct{ Level, App, Message, Time string }
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("not exactly one line of JSON: %v\n%s", err, b.String())
	}
	if line.Level != "warn" || line.App != "a" || line.Message != "loud" || line.Time == "" {
		t.Errorf("line %+v", line)
	}
	b.Reset()
	log = Logger(config.Log{Level: "debug", Format: "console"}, &b, false)
	log.Debug().Msg("for people")
	if text := b.String(); !strings.Contains(text, "for people") || strings.HasPrefix(text, "{") {
		t.Errorf("console line %q", text)
	}
}

func TestColoursOnlyOnTerminals(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminals here")
	}
	defer terminal.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tt := range []struct {
		environ []string
		w       *os.File
		want    bool
	}{
		{nil, terminal, true}, {nil, file, false}, {[]string{"NO_COLOR=1"}, terminal, false},
		{[]string{"NO_COLOR="}, terminal, true}, {[]string{"TERM=dumb"}, terminal, false},
	} {
		if got := Colours(tt.w, tt.environ); got != tt.want {
			t.Errorf("%v on %s: colours %t", tt.environ, tt.w.Name(), got)
		}
	}
}
