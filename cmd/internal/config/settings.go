package config

import (
	"fmt"
	"maps"
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

// all returns the settings with those of each application, by key.
func (c *Config) all() []setting {
	all := c.settings()
	for _, key := range slices.Sorted(maps.Keys(c.Applications)) {
		all = append(all, settings(fmt.Sprintf("applications[%s].", key), reflect.ValueOf(c.Applications[key]))...)
	}
	return all
}

// env returns the name of the variable.
func (s setting) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// isText reports whether the variable's text is the value itself. All other values are YAML.
func (s setting) isText() bool {
	return s.value.Kind() == reflect.String || s.value.Type() == reflect.TypeFor[time.Duration]()
}

func (s setting) isList() bool { return s.value.Kind() == reflect.Slice }

func (s setting) isSecret() bool { return s.value.Type() == reflect.TypeFor[Secret]() }

// Redacted returns the configuration for the log, by key, without secrets.
func (c Config) Redacted() map[string]any {
	all := make(map[string]any)
	for _, s := range c.all() {
		if s.value.Type() != reflect.TypeFor[map[string]Application]() {
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
