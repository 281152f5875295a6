package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	koanfyaml "github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// EnvFile is the variable that names the configuration file. It is not a setting.
const EnvFile = envPrefix + envFile

const envFile = "CONFIG"

// Load reads the configuration: variables (in the form of os.Environ) override the file, which overrides
// Default. An empty path means no file. Either the result is complete and valid, or the error joins one
// *Fault per fault. An unreadable file or invalid YAML is the only fault reported.
func Load(path string, environ []string) (Config, error) {
	if path == "" {
		return load("", nil, environ)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fileFault(path, err)
	}
	return load(path, text, environ)
}

// Parse is Load of a text, without variables.
func Parse(text []byte) (Config, error) { return load("", text, nil) }

// load is Load with the text of the file.
func load(path string, text []byte, environ []string) (Config, error) {
	cfg := Default()
	err := read(path, text, environ, form{prefix: envPrefix, into: &cfg, faults: func() []*Fault {
		cfg.Complete()
		return cfg.faults()
	}})
	return cfg, err
}

// form is the configuration of a program.
type form struct {
	prefix string          // of its variables
	into   any             // pointer to a struct of this package, with the defaults
	faults func() []*Fault // of the complete struct
}

// settings returns the settings without those of sections in maps.
func (f form) settings() []setting { return settings("", reflect.ValueOf(f.into).Elem()) }

// read reads a configuration into a form.
func read(path string, text []byte, environ []string, f form) error {
	k := koanf.New(".")
	if err := k.Load(content(text), koanfyaml.Parser()); err != nil {
		return fileFault(path, err)
	}
	from := places{file: path, lines: lines(text)}
	found, err := f.loadVariables(k, environ, &from)
	if err != nil {
		return fmt.Errorf("configuration variables: %w", err)
	}
	undecoded := f.decode(k)
	found = append(found, undecoded...)
	for _, f := range f.faults() {
		unread := func(u *Fault) bool { return u.Key == f.Key } // it was set, so it is not missing
		if !slices.ContainsFunc(undecoded, unread) {
			found = append(found, f)
		}
	}
	for _, f := range found {
		f.At = from.of(f.Key)
	}
	return join(found)
}

// IsSet reports whether there is any configuration: a file, or a variable of this program.
func IsSet(path string, environ []string) bool {
	return path != "" || slices.ContainsFunc(environ, func(variable string) bool {
		name, text, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, envPrefix) && name != EnvFile && !ofKubernetes(name, text)
	})
}

// content is the text of the file, as a provider of koanf.
type content []byte

func (c content) ReadBytes() ([]byte, error) { return c, nil }

func (c content) Read() (map[string]any, error) { return nil, errors.ErrUnsupported }

// yamlValue matches quotes from the file in the YAML library's errors, which can contain a secret. yamlLine
// matches the beginning of these errors.
var (
	yamlValue = regexp.MustCompile("'[^']*'|`[^`]*`")
	yamlLine  = regexp.MustCompile(`^yaml: (?:unmarshal errors: )?line (\d+): `)
)

func fileFault(path string, err error) *Fault {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return &Fault{Key: path.Path, Text: fmt.Sprintf("cannot be read: %v", path.Err)}
	}
	text := strings.Join(strings.Fields(err.Error()), " ") // one line per fault
	at := ""
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		at, text = path+":"+m[1], strings.TrimPrefix(text, m[0])
	}
	if strings.Contains(text, "into map[string]interface {}") { // a list or a word
		return &Fault{Key: path, At: at, Text: "is not valid: it must have sections with keys, such as redis: {addrs: [...]}"}
	}
	return &Fault{Key: path, At: at, Text: "is not valid YAML: " + yamlValue.ReplaceAllString(text, "…")}
}

// loadVariables overrides the values in k by the variables. A variable replaces a list or map as a whole.
func (f form) loadVariables(k *koanf.Koanf, environ []string, from *places) ([]*Fault, error) {
	var (
		found faults
		known = make(map[string]setting)
		names []string
	)
	for _, s := range f.settings() {
		name := s.variable(f.prefix)
		known[name] = s
		names = append(names, name)
		if s.isSecret() {
			names = append(names, name+fileSuffix)
		}
	}
	environ, unread := readSecretFiles(environ, known)
	found = append(found, unread...)
	take := func(name, text string) (key string, value any) {
		s, ok := known[name]
		if !ok {
			if name != f.prefix+envFile && !ofKubernetes(name, text) {
				found.add(name, "unknown variable%s", suggest(name, names))
			}
			return "", nil
		}
		value, err := s.fromVariable(text)
		if err != nil {
			found.add(name, "%v", err)
			return "", nil
		}
		k.Delete(s.key)
		from.setByVariable(s.key, name)
		return s.key, value
	}
	opt := env.Opt{Prefix: f.prefix, TransformFunc: take, EnvironFunc: func() []string { return environ }}
	return found, k.Load(env.Provider(".", opt), nil)
}

var errVariable = errors.New("is not valid YAML") // the library's error can contain a secret

// fromVariable returns the value for a setting that a variable's text stands for: the text itself, items
// separated by commas if the setting is a list, else YAML. A list can be YAML too: it begins with [ or -.
func (s setting) fromVariable(text string) (value any, err error) {
	if s.isText() {
		return text, nil
	}
	if s.isList() && !yamlList.MatchString(text) {
		var items []any
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		return items, nil
	}
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return nil, errVariable
	}
	return value, nil
}

// yamlList matches the beginning of a list in YAML.
var yamlList = regexp.MustCompile(`^\s*(\[|-\s)`)

// kubernetesVariable matches the variables that Kubernetes adds to every pod of a namespace with a service
// whose name begins with "wcs", such as the gateway's own service.
var kubernetesVariable = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

func ofKubernetes(name, text string) bool {
	return kubernetesVariable.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

// decode merges the values in k into the form.
func (f form) decode(k *koanf.Koanf) []*Fault {
	var meta mapstructure.Metadata
	err := k.UnmarshalWithConf("", f.into, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		DecodeHook: checkType,
		MatchName:  func(key, field string) bool { return key == field },
		Metadata:   &meta,
	}})
	found := decodeFaults(err)
	keys := f.keys()
	slices.Sort(meta.Unused)
	for _, key := range meta.Unused {
		found.add(key, "unknown key%s", suggest(key, keys))
	}
	return found
}

// keys returns all keys of the file, including those of sections and of the configured applications.
func (f form) keys() []string {
	var keys []string
	for _, s := range withSections(f.settings()) {
		keys = append(keys, s.key)
		for i, r := range s.key {
			if r == '.' {
				keys = append(keys, s.key[:i])
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// decodeFaults converts the decoder's tree of errors.
func decodeFaults(err error) (found faults) {
	for _, leaf := range leaves(err) {
		if one := (*mapstructure.DecodeError)(nil); errors.As(leaf, &one) {
			found.add(one.Name(), "%v", one.Unwrap())
		} else {
			found.add("configuration", "%v", leaf)
		}
	}
	return found
}

// checkType is the decoder's hook. It requires the exact type of each setting, parses durations, and starts
// an application or upstream with the defaults, so that explicit zero values stay. Its errors never contain
// the value, which can be a secret.
func checkType(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if to.Type() == reflect.TypeFor[Secret]() && from.Kind() == reflect.Map {
		return secretFromSection(value)
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		text, _ := value.(string)
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, errors.New("must be a duration with its unit, such as 5s or 500ms")
		}
		return d, nil
	}
	if defaults, _, ok := defaultSection(to.Type()); ok {
		to.Set(defaults)
	}
	ok, want := true, ""
	switch to.Kind() {
	case reflect.String:
		ok, want = from.Kind() == reflect.String, "text: put it in quotes"
	case reflect.Bool:
		ok, want = from.Kind() == reflect.Bool, "true or false"
	case reflect.Int, reflect.Int64:
		ok, want = isWhole(from), "a whole number"
	case reflect.Slice:
		ok, want = from.Kind() == reflect.Slice, "a list, such as [a, b]"
	case reflect.Map, reflect.Struct:
		ok, want = from.Kind() == reflect.Map, "a section with keys of its own"
	}
	if !ok {
		return nil, errors.New("must be " + want)
	}
	return value, nil
}

// isWhole also accepts floating point: tools that go through JSON write 1048576 as 1.048576e+06.
func isWhole(v reflect.Value) bool {
	return v.CanInt() || v.CanFloat() && v.Float() == float64(int64(v.Float()))
}
