package config

import (
	"cmp"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tags of fields besides fieldTag. The JSON schema has both.
const (
	// ruleTag has the bounds that validation checks, separated by commas: min=N and max=N of a number or a
	// duration, or=0 (0 is allowed in spite of min), one=a|b of a text.
	ruleTag = "rule"
	// patternTag has a regular expression for a text or the items of a list. It is for the schema: it may
	// accept texts that validation rejects, but not the reverse.
	patternTag = "pattern"
)

// rule is a parsed ruleTag. The zero value allows everything.
type rule struct {
	min, max string // "" for no bound
	orZero   bool
	one      []string // nil for any text
}

func (s setting) rule() (r rule) {
	text := s.tag.Get(ruleTag)
	if list, ok := strings.CutPrefix(text, "one="); ok {
		r.one = strings.Split(list, "|")
		return r
	}
	for part := range strings.SplitSeq(text, ",") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "min":
			r.min = value
		case "max":
			r.max = value
		case "or":
			r.orZero = true
		}
	}
	return r
}

// checkRule adds a fault if the value of a setting breaks its rule.
func (f *faults) checkRule(s setting) {
	r := s.rule()
	if r.one != nil {
		named := slices.DeleteFunc(slices.Clone(r.one), func(name string) bool { return name == "" })
		f.check(slices.Contains(r.one, s.value.String()), s.key, "is %q, must be one of %s", s.value.String(), strings.Join(named, ", "))
		return
	}
	low, high := s.compare(r.min), s.compare(r.max)
	switch {
	case r.orZero && s.value.IsZero():
	case r.max != "":
		f.check(low >= 0 && high <= 0, s.key, "must be %s to %s", r.min, r.max)
	case r.orZero:
		f.check(low >= 0, s.key, "must be at least %s, or 0", r.min)
	default:
		f.check(low >= 0, s.key, "must be at least %s", r.min)
	}
}

// compare compares a number or duration with a bound of a tag. It returns 0 without a bound. A test parses
// all bounds, so errors are not possible.
func (s setting) compare(bound string) int {
	if bound == "" {
		return 0
	}
	if d, ok := s.value.Interface().(time.Duration); ok {
		limit, _ := time.ParseDuration(bound)
		return cmp.Compare(d, limit)
	}
	limit, _ := strconv.ParseFloat(bound, 64)
	if s.value.Kind() == reflect.Float64 {
		return cmp.Compare(s.value.Float(), limit)
	}
	return cmp.Compare(s.value.Int(), int64(limit))
}
