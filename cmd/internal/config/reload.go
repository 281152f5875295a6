package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// reloadable are the settings, or sections of settings, that apply without a restart.
var reloadable = []string{"applications", "upstreams", "limits.", "listen.origins", "log.level"}

// isLive reports whether a setting applies without a restart.
func isLive(key string) bool {
	return slices.ContainsFunc(reloadable, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// Changes are the keys of the settings that differ between two configurations.
type Changes struct {
	Live    []string // apply without a restart
	Restart []string // apply after a restart
}

// Compare returns the settings that differ in next.
func (c Config) Compare(next Config) Changes {
	var changes Changes
	now, then := c.settings(), next.settings()
	for i, s := range now {
		if reflect.DeepEqual(s.value.Interface(), then[i].value.Interface()) {
			continue
		}
		if isLive(s.key) {
			changes.Live = append(changes.Live, s.key)
		} else {
			changes.Restart = append(changes.Restart, s.key)
		}
	}
	return changes
}

// Take returns c with next's values of all settings that apply without a restart.
func (c Config) Take(next Config) Config {
	c.Applications, c.builtInApps = next.Applications, next.builtInApps
	c.Upstreams = next.Upstreams
	c.Limits, c.Listen.Origins, c.Log.Level = next.Limits, next.Listen.Origins, next.Log.Level
	return c
}

// Faults splits the error of Load or Validate. An error without a Fault becomes one fault of the whole
// configuration.
func Faults(err error) []*Fault {
	var all []*Fault
	for _, leaf := range leaves(err) {
		var one *Fault
		if !errors.As(leaf, &one) {
			one = &Fault{Key: "configuration", Text: leaf.Error()}
		}
		all = append(all, one)
	}
	return all
}
