// Package arch contains only tests of the repository itself: which packages import which, links in documents,
// and prose. .golangci.yml repeats the import rules for depguard, for editors.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module     = "wcsgateway"
	production = module + "/cmd/wcs-gateway"
)

// inward lists, for each package of this module, the packages of this module that it may import. A package
// without a row follows its nearest listed parent; "*" means all.
var inward = map[string][]string{
	"translate/wcs":     {},
	"translate":         {"translate/wcs"},
	"translate/media":   {},
	"translate/pull":    {},
	"translate/livekit": {"translate", "translate/media"},
	"state":             {},
	"state/statetest":   {"state"},
	"gateway/origins":   {},
	"gateway/bus":       {"translate", "translate/wcs", "state"},
	"gateway/cleanup":   {"gateway/sampled", "translate", "state"},
	"gateway/hooks":     {"gateway/serial", "translate/wcs"},
	"gateway/probe":     {"translate", "translate/wcs", "state"},
	"gateway/natives":   {"translate"},
	"gateway/pulls":     {"gateway/ends", "gateway/serial", "state", "translate", "translate/pull"},
	"gateway/rates":     {"gateway/apps", "gateway/probe", "gateway/wheel", "translate", "translate/wcs"},
	"gateway/quota":     {},
	"gateway/realip":    {},
	"gateway/egress":    {"gateway/cleanup", "translate", "state"},
	"gateway/embed":     {},
	"gateway/ends":      {"translate", "translate/wcs"},
	"gateway/reconcile": {"translate"},
	"gateway/roomapi":   {"gateway/cleanup", "gateway/quota", "gateway/wheel", "state", "translate/wcs"},
	"gateway/rtmp":      {},
	"gateway/sampled":   {},
	"gateway/serial":    {},
	"gateway/snapshot":  {"gateway/quota", "translate", "translate/wcs"},
	"gateway/socket":    {"gateway/realip", "gateway/waiting", "translate/wcs"},
	"gateway/tracing":   {},
	"gateway/hybrid":    {"gateway/quota", "gateway/socket", "gateway/upstream", "state", "translate/wcs"},
	"gateway/upstream":  {"gateway/socket", "state", "translate/transcript", "translate/wcs"},
	"gateway/waiting":   {},
	"gateway/wheel":     {},
	"gateway/admin":     {"gateway/ends", "gateway/serial", "translate", "translate/wcs", "state"},
	"gateway/console":   {"docs", "gateway/admin", "gateway/ends", "state"},
	"gateway/rest":      {"gateway/admin", "gateway/origins", "gateway/pulls", "gateway/realip", "gateway/sampled", "gateway/upstream", "translate", "translate/pull", "translate/wcs", "state"},
	"gateway/apps":      {"gateway/hooks", "gateway/hybrid", "gateway/origins", "gateway/pulls", "gateway/quota", "gateway/rtmp", "gateway/socket", "gateway/upstream", "translate", "translate/wcs"},
	"gateway/session": {
		"gateway/apps", "gateway/hooks", "gateway/hybrid", "gateway/origins", "gateway/quota", "gateway/realip", "gateway/rtmp", "gateway/serial", "gateway/socket", "gateway/waiting", "gateway/wheel",
		"gateway/bus", "gateway/cleanup", "gateway/sampled", "gateway/tracing",
		"gateway/natives", "gateway/probe", "gateway/pulls", "gateway/rates", "gateway/reconcile", "gateway/roomapi", "gateway/snapshot",
		"gateway/admin", "gateway/egress", "gateway/ends",
		"translate", "translate/wcs", "state",
	},
	"gateway": {
		"gateway/session", "gateway/apps", "gateway/hooks", "gateway/hybrid", "gateway/origins", "gateway/quota", "gateway/realip", "gateway/serial", "gateway/socket", "gateway/waiting", "gateway/wheel",
		"gateway/bus", "gateway/cleanup", "gateway/sampled",
		"gateway/natives", "gateway/probe", "gateway/pulls", "gateway/rates", "gateway/reconcile", "gateway/roomapi", "gateway/snapshot",
		"gateway/admin", "gateway/egress", "gateway/embed", "gateway/ends", "gateway/upstream",
		"translate", "translate/wcs", "state",
	},
	"translate/transcript": {"translate/wcs"},
	"internal/wcsclient":   {},
	"cmd":                  {"*"},
	"e2e":                  {"*"},
	"docs":                 {},
}

// outward lists the packages of this module (including those below them) that may import certain other
// packages.
var outward = []struct {
	path string
	by   []string
	why  string
}{
	{"github.com/gorilla/websocket", []string{"gateway", "translate/livekit", "internal/wcsclient", "cmd/wcs-bench", "e2e"}, "sockets are the gateway's"},
	{"github.com/redis/go-redis", []string{"state", "cmd/wcs-dev", "e2e"}, "Redis is behind the interfaces of gateway/session/env.go"},
	{"github.com/livekit", []string{"translate/livekit", "cmd/wcs-dev", "e2e"}, "one package knows LiveKit's API"},
	{"github.com/livekit/livekit-server", []string{"cmd/wcs-dev", "e2e"}, "the SFU is not part of the gateway"},
	{"github.com/pion/webrtc", []string{"translate/livekit", "internal/wcsclient", "cmd/wcs-dev", "e2e"}, "media does not pass through the gateway"},
	{"github.com/alicebob/miniredis", []string{"cmd/wcs-dev", "e2e"}, "an embedded Redis is for a first look and for tests"},
	{"github.com/knadh/koanf", []string{"cmd/internal/config"}, "configuration is read in one place"},
	{module + "/e2e", []string{"e2e"}, "it is for tests"},
	{module + "/internal/wcsclient", []string{"cmd/wcs-bench", "cmd/internal/check", "e2e"}, "it is for clients of the gateway"},
}

// pure packages have no I/O and no logger.
var (
	pure   = []string{"translate", "translate/wcs", "translate/transcript", "translate/media", "translate/pull"}
	impure = []string{"net", "net/http", "os", "log", "log/slog", "github.com/rs/zerolog"}
)

// unlinked are packages that the production binary must not contain, not even indirectly.
var unlinked = []string{"github.com/livekit/livekit-server", "github.com/alicebob/miniredis", "github.com/bluenviron/gortsplib", module + "/cmd/wcs-pull", module + "/e2e", "testing"}

// goPackage is the part of go list's output that the tests need. Imports are those of its code, not of its
// tests.
type goPackage struct {
	ImportPath string
	Imports    []string
}

func TestPackagesImportAllowedPackagesOnly(t *testing.T) {
	packages := list(t, module+"/...")
	for top := range inward {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return within(p.ImportPath, module+"/"+top) }) {
			t.Errorf("package %s does not exist, but has rules", top)
		}
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

func TestProductionBinaryLinksNoTestPackages(t *testing.T) {
	deps := list(t, "-deps", production)
	if !slices.ContainsFunc(deps, func(p goPackage) bool { return p.ImportPath == module+"/gateway" }) {
		t.Fatalf("%s does not link the gateway: the list is wrong", production)
	}
	for _, p := range deps {
		if withinAny(p.ImportPath, unlinked) {
			t.Errorf("%s links %s", production, p.ImportPath)
		}
	}
}

// Each of these imports breaks exactly one rule.
func TestEachForbiddenImportIsAViolation(t *testing.T) {
	for _, tt := range []struct{ pkg, imports, want string }{
		{"gateway", "github.com/redis/go-redis/v9", "Redis is behind"},
		{"gateway", "wcsgateway/translate/livekit", "must not import translate/livekit"},
		{"gateway", "github.com/livekit/protocol/auth", "one package knows"},
		{"gateway/hooks", "wcsgateway/state", "must not import state"},
		{"gateway/sub", "wcsgateway/cmd/internal/config", "must not import cmd/internal/config"},
		{"state", "wcsgateway/translate", "must not import translate"},
		{"state", "github.com/gorilla/websocket", "sockets are"},
		{"translate", "net/http", "must stay pure"},
		{"translate/livekit", "wcsgateway/state", "must not import state"},
		{"translate/livekit", "github.com/livekit/livekit-server/pkg/rtc", "not part of the gateway"},
		{"cmd/wcs-gateway", "github.com/alicebob/miniredis/v2", "embedded Redis"},
		{"cmd/internal/app", "wcsgateway/e2e/rig", "for tests"},
		{"cmd/wcs-bench", "github.com/livekit/server-sdk-go/v2", "one package knows"},
		{"util", "fmt", "no rule"},
	} {
		got := violations([]goPackage{{ImportPath: module + "/" + tt.pkg, Imports: []string{tt.imports}}})
		if len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s importing %s: violations %q, want one with %q", tt.pkg, tt.imports, got, tt.want)
		}
	}
	allowed := []goPackage{
		{ImportPath: module + "/gateway", Imports: []string{"net/http", "github.com/gorilla/websocket", module + "/state"}},
		{ImportPath: module + "/cmd/wcs-dev", Imports: []string{"github.com/livekit/livekit-server/pkg/service", module + "/gateway"}},
		{ImportPath: module + "/cmd/wcs-bench", Imports: []string{"github.com/gorilla/websocket"}},
	}
	if got := violations(allowed); len(got) != 0 {
		t.Errorf("violations %q, want none", got)
	}
}

// violations returns each import that a rule forbids.
func violations(packages []goPackage) []string {
	var found []string
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, ok := rule(name)
		if !ok {
			found = append(found, fmt.Sprintf("%s: no rule says what it may import: add one to inward", name))
			continue
		}
		for _, path := range p.Imports {
			found = append(found, inwardViolations(name, path, allowed)...)
			found = append(found, outwardViolations(name, path)...)
		}
	}
	return found
}

func inwardViolations(name, path string, allowed []string) []string {
	own, ok := strings.CutPrefix(path, module+"/")
	if !ok || slices.Contains(allowed, "*") || slices.Contains(allowed, own) {
		return nil
	}
	return []string{fmt.Sprintf("%s must not import %s", name, own)}
}

func outwardViolations(name, path string) []string {
	var found []string
	for _, r := range outward {
		if within(path, r.path) && !withinAny(name, r.by) {
			found = append(found, fmt.Sprintf("%s must not import %s: %s", name, path, r.why))
		}
	}
	if slices.Contains(pure, name) && slices.Contains(impure, path) {
		found = append(found, fmt.Sprintf("%s must not import %s: it must stay pure", name, path))
	}
	if len(found) > 1 {
		found = found[len(found)-1:] // the most specific rule is the last
	}
	return found
}

// rule returns the packages that a package may import: its own rule, or that of the nearest parent.
func rule(name string) (allowed []string, ok bool) {
	for {
		if allowed, ok = inward[name]; ok {
			return allowed, true
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return nil, false
		}
		name = name[:cut]
	}
}

// within reports whether path is parent or below it.
func within(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (rest == "" || rest[0] == '/')
}

func withinAny(path string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return within(path, parent) })
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...)
	cmd.Dir = "../../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
