package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Secret is a text that must not be shown. It is printed, logged and encoded as ***; only Reveal returns it.
type Secret string

const masked = "***"

// Reveal returns the text for the library that needs it.
func (s Secret) Reveal() string { return string(s) }

// String returns *** for a secret, "" without one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format makes every verb of package fmt print String's result, including verbs of other types.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // package fmt's own buffer does not fail
}

// MarshalText encodes String's result in JSON, YAML and the log.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// fileSuffix turns the name of a secret's variable into that of the variable which names a file with the
// secret, as Kubernetes mounts it.
const fileSuffix = "_FILE"

// readSecretFiles replaces each variable that names a secret's file by the secret's variable.
func readSecretFiles(environ []string, known map[string]setting) ([]string, []*Fault) {
	var found faults
	environ = slices.Clone(environ)
	for i, variable := range environ {
		name, path, _ := strings.Cut(variable, "=")
		plain, isFile := strings.CutSuffix(name, fileSuffix)
		s, ok := known[plain]
		if !isFile || !ok || !s.isSecret() {
			continue
		}
		twice := slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, plain+"=") })
		found.check(!twice, name, "and %s are both set", plain)
		secret, err := readSecret(path)
		if err != nil {
			found.add(name, "%v", err)
			secret = masked // otherwise it would also be reported as missing
		}
		environ[i] = plain + "=" + secret
	}
	return environ, found
}

// secretFromSection reads a secret that is given as {file: path}.
func secretFromSection(section any) (any, error) {
	m, ok := section.(map[string]any)
	path, isText := m["file"].(string)
	if !ok || !isText || len(m) != 1 {
		return nil, errors.New("must be text, or {file: path}")
	}
	return readSecret(path)
}

var errEmptySecret = errors.New("is empty")

// readSecret reads a file that contains only a secret. Line ends after it are removed.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	text := strings.TrimRight(string(b), "\r\n")
	if err == nil && text == "" {
		err = errEmptySecret
	}
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, err)
	}
	return text, nil
}
