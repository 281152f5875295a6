package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/cmd/wcs-pull/sandbox"
)

func TestWorkerWithoutASandboxSaysSoOrDoesNotStart(t *testing.T) {
	available := sandbox.Available
	defer func() { sandbox.Available = available }()
	forbidden := errors.New("operation not permitted")
	for _, tt := range []struct {
		setting string
		host    error
		want    bool
		fails   bool
		warns   bool
	}{
		{setting: "auto", want: true},
		{setting: "required", want: true},
		{setting: "off"},
		{setting: "auto", host: forbidden, warns: true},
		{setting: "required", host: forbidden, fails: true},
		{setting: "off", host: forbidden},
	} {
		sandbox.Available = func() error { return tt.host }
		cfg := config.DefaultWorker()
		cfg.Sandbox = tt.setting
		var log bytes.Buffer
		got, err := sandboxed(cfg, zerolog.New(&log))
		if got != tt.want || errors.Is(err, forbidden) != tt.fails || (err != nil) != tt.fails {
			t.Errorf("%s with %v: %v, %v", tt.setting, tt.host, got, err)
		}
		if strings.Contains(log.String(), forbidden.Error()) != tt.warns {
			t.Errorf("%s with %v: log %s", tt.setting, tt.host, log.String())
		}
	}
}
