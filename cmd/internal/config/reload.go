package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// takenLive are the settings, or sections of them, that a running gateway can take.
var takenLive = []string{"applications", "limits.", "listen.origins", "log.level"}

// Changes are the keys of settings that differ between two configurations.
type Changes struct {
	Live    []string // taken by a running gateway
	Restart []string // not before it is started again
}

// Compare tells what is different in next.
func (c Config) Compare(next Config) Changes {
	var changes Changes
	now, then := c.settings(), next.settings()
	for i, s := range now {
		if reflect.DeepEqual(s.value.Interface(), then[i].value.Interface()) {
			continue
		}
		if slices.ContainsFunc(takenLive, func(prefix string) bool { return strings.HasPrefix(s.key, prefix) }) {
			changes.Live = append(changes.Live, s.key)
		} else {
			changes.Restart = append(changes.Restart, s.key)
		}
	}
	return changes
}

// Take gives the configuration with what next has for the settings that a running gateway can take.
func (c Config) Take(next Config) Config {
	c.Applications, c.builtInApps = next.Applications, next.builtInApps
	c.Limits, c.Listen.Origins, c.Log.Level = next.Limits, next.Listen.Origins, next.Log.Level
	return c
}

// Faults takes the error of Load or Validate apart. One that holds no Fault is a fault of the configuration as a whole.
func Faults(err error) []*Fault {
	var (
		one  *Fault
		many interface{ Unwrap() []error }
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &many):
		var all []*Fault
		for _, e := range many.Unwrap() {
			all = append(all, Faults(e)...)
		}
		return all
	case errors.As(err, &one):
		return []*Fault{one}
	}
	return []*Fault{{Key: "configuration", Text: err.Error()}}
}
