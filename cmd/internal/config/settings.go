package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

const (
	fieldTag  = "koanf"
	envPrefix = "WCS_"
)

// setting is one value that can be set in the file and by a variable.
type setting struct {
	key   string        // path in the file
	value reflect.Value // its value in the Config
	owner reflect.Type  // the struct that contains the field
	field string        // the field's name, for its documentation
	tag   reflect.StructTag
}

// settings returns all settings of a struct of this package, in the order of its fields.
func settings(prefix string, v reflect.Value) []setting {
	var all []setting
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		key := prefix + f.Tag.Get(fieldTag)
		if f.Type.Kind() == reflect.Struct {
			all = append(all, settings(key+".", v.Field(i))...)
			continue
		}
		all = append(all, setting{key: key, value: v.Field(i), owner: t, field: f.Name, tag: f.Tag})
	}
	return all
}

func (c *Config) settings() []setting { return settings("", reflect.ValueOf(c).Elem()) }

// all returns the settings with those of each application and upstream, by key.
func (c *Config) all() []setting { return withSections(c.settings()) }

// withSections adds the settings of each section in a map.
func withSections(flat []setting) []setting {
	all := slices.Clone(flat)
	for _, s := range flat {
		for _, name := range s.sections() {
			all = append(all, settings(fmt.Sprintf("%s[%s].", s.key, name), s.value.MapIndex(reflect.ValueOf(name)))...)
		}
	}
	return all
}

// sections returns the names of the sections in a setting that is a map of them, sorted.
func (s setting) sections() (names []string) {
	if !s.hasSections() {
		return nil
	}
	for _, name := range s.value.MapKeys() {
		names = append(names, name.String())
	}
	slices.Sort(names)
	return names
}

func (s setting) hasSections() bool {
	return s.value.Kind() == reflect.Map && s.value.Type().Elem().Kind() == reflect.Struct
}

// Placeholders for the names of sections in the path of a setting.
const (
	anyApp      = "<appKey>"
	anyUpstream = "<name>"
)

// defaultSection returns the defaults of a type whose sections have names, and the placeholder for these.
func defaultSection(t reflect.Type) (defaults reflect.Value, placeholder string, ok bool) {
	switch t {
	case reflect.TypeFor[Application]():
		return reflect.ValueOf(DefaultApplication()), anyApp, true
	case reflect.TypeFor[Upstream]():
		return reflect.ValueOf(DefaultUpstream()), anyUpstream, true
	}
	return reflect.Value{}, "", false
}

// env returns the name of the gateway's variable.
func (s setting) env() string { return s.variable(envPrefix) }

// variable returns the name of the variable of a program whose variables have the prefix.
func (s setting) variable(prefix string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// isText reports whether the variable's text is the value itself. All other values are YAML.
func (s setting) isText() bool {
	return s.value.Kind() == reflect.String || s.value.Type() == reflect.TypeFor[time.Duration]()
}

func (s setting) isList() bool { return s.value.Kind() == reflect.Slice }

func (s setting) isSecret() bool { return s.value.Type() == reflect.TypeFor[Secret]() }

// Redacted returns the configuration for the log, by key, without secrets.
func (c Config) Redacted() map[string]any {
	return redacted(c.all())
}

func redacted(settings []setting) map[string]any {
	all := make(map[string]any)
	for _, s := range settings {
		if !s.hasSections() {
			all[s.key] = s.redacted()
		}
	}
	return all
}

func (s setting) redacted() any {
	switch v := s.value.Interface().(type) {
	case Secret, time.Duration:
		return fmt.Sprint(v)
	default: // a map of secrets masks itself
		return v
	}
}
