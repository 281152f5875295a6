package app

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"wcsgateway/cmd/internal/config"
)

// A configuration that passes validation can be built, so that --check-config reports every fault. The test
// sets each setting to values at and beyond its limits.
func TestValidConfigurationCanBeBuilt(t *testing.T) {
	accepted := 0
	for _, base := range []struct {
		name    string
		varied  string // the varied settings, by the beginning of their path
		prepare func(*config.Config)
	}{
		{"plain", "", func(*config.Config) {}},
		{"with a backend", ofAnApplication + "Hooks.", func(c *config.Config) {
			ofApplication(c, func(a *config.Application) { a.Hooks.URL = "https://backend.example/api" })
		}},
		{"cluster", "Redis.", func(c *config.Config) { c.Redis.Addrs = []string{"a:1", "b:2"} }},
		{"sentinels", "Redis.DB", func(c *config.Config) { c.Redis.Addrs, c.Redis.MasterName = []string{"a:1", "b:2"}, "main" }},
	} {
		all, _ := settingsOf(sound(t, base.prepare))
		for i, s := range all {
			if !strings.HasPrefix(s.path, base.varied) {
				continue
			}
			for _, odd := range oddities(s.value.Type()) {
				cfg := sound(t, base.prepare)
				settings, taken := settingsOf(cfg)
				settings[i].value.Set(odd)
				taken()
				if cfg.Validate() != nil {
					continue
				}
				accepted++
				if err := Check(*cfg); err != nil {
					t.Errorf("%s, %s = %#v is valid, but a gateway cannot be built: %v", base.name, s.path, odd, err)
				}
			}
		}
	}
	if accepted < 200 {
		t.Errorf("only %d valid configurations: the test is too weak", accepted)
	}
}

// sound returns a configuration from which a gateway can be built.
func sound(t *testing.T, prepare func(*config.Config)) *config.Config {
	t.Helper()
	c := config.Default()
	c.LiveKit.URL, c.LiveKit.APIKey, c.LiveKit.APISecret = "http://livekit:7880", "key", "secret"
	c.Redis.Addrs = []string{"redis:6379"}
	c.Complete()
	prepare(&c)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return &c
}

// ofAnApplication is the prefix of the paths of an application's settings.
const ofAnApplication = "Applications."

func ofApplication(c *config.Config, change func(*config.Application)) {
	app := c.Applications["defaultApp"]
	change(&app)
	c.Applications["defaultApp"] = app
}

// leaf is a setting.
type leaf struct {
	path  string
	value reflect.Value
}

// settingsOf returns the settings of a configuration and of its application. taken stores the application
// back.
func settingsOf(c *config.Config) (all []leaf, taken func()) {
	app := c.Applications["defaultApp"]
	all = append(leaves("", reflect.ValueOf(c).Elem()), leaves(ofAnApplication, reflect.ValueOf(&app).Elem())...)
	return all, func() { c.Applications["defaultApp"] = app }
}

func leaves(path string, v reflect.Value) (all []leaf) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.Struct:
			all = append(all, leaves(path+f.Name+".", v.Field(i))...)
		default:
			all = append(all, leaf{path + f.Name, v.Field(i)})
		}
	}
	return all
}

// oddities returns values of a setting's type, most of which are invalid for most settings.
func oddities(t reflect.Type) (odd []reflect.Value) {
	add := func(values ...any) {
		for _, v := range values {
			odd = append(odd, reflect.ValueOf(v).Convert(t))
		}
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		for _, d := range []time.Duration{-1, 0, 1, 100 * time.Millisecond, time.Second, 2 * time.Second, time.Minute, time.Hour, math.MaxInt64} {
			add(d)
		}
	case t == reflect.TypeFor[map[string]config.Secret]():
		add(map[string]config.Secret{"key": "another"}, map[string]config.Secret{"": "x"}, map[string]config.Secret{"old": ""})
	case t == reflect.TypeFor[[]string]():
		add([]string{}, []string{""}, []string{"x"}, []string{"10.0.0.1/8"}, []string{"::ffff:10.0.0.1/104"}, []string{"a:1", "b:2"}, []string{"[::1]:0"},
			[]string{"opus"}, []string{"connect"}, []string{"defaultApp"}, []string{"!*"}, []string{"https://*.example.com:*"})
	case t.Kind() == reflect.String:
		add("", "x", "a b", ":80", "http://:80", "http://h/p#", "http://h?", "https://h//p/", "ws://h", "HTTP://[::1]:1", "{name}", "é\x00")
	case t.Kind() == reflect.Bool:
		add(true, false)
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		add(-1, 0, 1, 10, 1<<10, 1<<16, 1<<20, math.MaxInt32, math.MaxInt)
	}
	return odd
}
