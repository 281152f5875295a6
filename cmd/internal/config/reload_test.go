package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestCompareSeparatesRestartSettings(t *testing.T) {
	now, err := Load("", required)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Load("", append(slices.Clone(required), "WCS_LIVEKIT_CALLTIMEOUT=9s", "WCS_LISTEN_PUBLIC=:1", "WCS_LISTEN_ORIGINS=[a.example]",
		"WCS_LOG_LEVEL=debug", "WCS_LIMITS_CONNECTIONS=7", "WCS_APPLICATIONS={a: {}}", "WCS_LISTEN_TRUSTEDPROXIES=[10.0.0.0/8]", "WCS_REDIS_PASSWORD=new"))
	if err != nil {
		t.Fatal(err)
	}
	got := now.Compare(next)
	check(t, "taken", got.Live, []string{"listen.origins", "limits.connections", "applications", "log.level"})
	check(t, "not before a restart", got.Restart, []string{"listen.public", "listen.trustedProxies", "livekit.callTimeout", "redis.password"})

	taken := now.Take(next)
	check(t, "what is left after taking", taken.Compare(next).Live, nil)
	check(t, "what still needs a restart", taken.Compare(next).Restart, got.Restart)
	if len(now.Compare(now).Live)+len(now.Compare(now).Restart) > 0 {
		t.Error("a configuration differs from itself")
	}
}

// Take covers every setting that Compare lists as live.
func TestTakeCoversEveryLiveSetting(t *testing.T) {
	var now, next Config
	for _, s := range next.settings() {
		if isLive := slices.Contains(now.Compare(changed(t, s.key)).Live, s.key); isLive {
			if left := now.Take(changed(t, s.key)).Compare(changed(t, s.key)); len(left.Live) > 0 {
				t.Errorf("%s is not taken", s.key)
			}
		}
	}
}

// changed returns the zero Config with another value for a setting.
func changed(t *testing.T, key string) (c Config) {
	t.Helper()
	for _, s := range c.settings() {
		if s.key != key {
			continue
		}
		switch v := s.value.Addr().Interface().(type) {
		case *string:
			*v = "x"
		case *int:
			*v = 1
		case *int64:
			*v = 1
		case *[]string:
			*v = []string{"x"}
		case *map[string]Application:
			*v = map[string]Application{"x": {}}
		case *map[string]Upstream:
			*v = map[string]Upstream{"x": {}}
		}
	}
	return c
}

func TestFaultsSplitsJoinedErrors(t *testing.T) {
	_, err := Load("", nil)
	if got := Faults(err); len(got) != 4 {
		t.Errorf("%d faults, want 4: %v", len(got), err)
	}
	if got := Faults(fmt.Errorf("x: %w", errors.New("y"))); len(got) != 1 || got[0].Text != "x: y" {
		t.Errorf("faults %v", got)
	}
	if got := Faults(nil); got != nil {
		t.Errorf("faults %v", got)
	}
}

func TestWatchReportsChangedFilesOnly(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(target, name string) {
		t.Helper()
		next := filepath.Join(dir, "..next")
		if err := os.Symlink(target, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	plain := put("plain.yaml", "1")
	// The links of a ConfigMap as mounted by the kubelet: wcs.yaml → ..data/wcs.yaml, ..data → a folder per
	// version.
	put("..v1/wcs.yaml", "1")
	link("..v1", "..data")
	link("..data/wcs.yaml", "wcs.yaml")
	mounted := filepath.Join(dir, "wcs.yaml")

	told := make(chan struct{}, 10)
	if err := Watch(t.Context(), []string{plain, mounted, filepath.Join(dir, "absent")}, func() { told <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	wait := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Fatalf("no call after %s", what)
		}
	}
	put("plain.yaml", "2")
	wait("a file that was written")
	put("new.yaml", "3")
	if err := os.Rename(filepath.Join(dir, "new.yaml"), plain); err != nil {
		t.Fatal(err)
	}
	wait("a file that was replaced")
	put("..v2/wcs.yaml", "2")
	link("..v2", "..data")
	wait("a ConfigMap that was changed")
	put("..v2/wcs.yaml", "3")
	wait("a file behind a link")
	put("absent", "1")
	wait("a file that has come")
	put("other", "1") // a file that is not watched
	put("plain.yaml", "4")
	wait("the last change")
	if n := len(told); n > 0 {
		t.Errorf("%d calls too many", n)
	}
}

func TestWatchReportsMissingFolder(t *testing.T) {
	if err := Watch(context.Background(), []string{filepath.Join(t.TempDir(), "none", "file")}, func() {}); err == nil {
		t.Error("Watch of a missing folder returned no error")
	}
}
