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

// Secret is text that must not be shown: however it is printed, logged or encoded it is ***.
// Only Reveal gives it.
type Secret string

const masked = "***"

// Reveal is the text itself, for the library that needs it.
func (s Secret) Reveal() string { return string(s) }

// String tells whether there is a secret, and not which: *** or nothing.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format makes every verb of package fmt print what String gives, those for other types too.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // package fmt's own buffer does not fail
}

// MarshalText is String for encoders: JSON, YAML and the log.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// fileSuffix makes of a secret's variable the one that names a file with the secret, as Kubernetes mounts it.
const fileSuffix = "_FILE"

// readSecretFiles replaces each variable that names a secret's file by the secret's own.
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
			secret = masked // it is not missing as well
		}
		environ[i] = plain + "=" + secret
	}
	return environ, found
}

// secretFromSection reads a secret that stands in the file as {file: path}.
func secretFromSection(section any) (any, error) {
	m, ok := section.(map[string]any)
	path, isText := m["file"].(string)
	if !ok || !isText || len(m) != 1 {
		return nil, errors.New("must be text, or {file: path}")
	}
	return readSecret(path)
}

var errEmptySecret = errors.New("is empty")

// readSecret reads a file that holds nothing but a secret. Line ends after it are taken off.
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
