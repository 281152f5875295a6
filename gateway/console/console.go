// Package console is the page that shows operators what the deployment has: its files, and what it needs to be live. What operators do
// there they do through the REST API, whose users, origins and audit log are the console's, too. It knows HTTP; what it shows is the gateway's.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/admin"
	"wcsgateway/state"
)

// Deployment is what all pods have, from whichever is asked. Its errors wrap state.ErrNotFound, state.ErrUnavailable or
// admin.ErrPodUnreachable.
type Deployment interface {
	EachStream(ctx context.Context, f admin.StreamFilter, yield func([]admin.StreamEntry) error) error
	Figures(ctx context.Context, streams []admin.StreamEntry) (map[string]admin.Figures, error)
	EachSession(ctx context.Context, yield func([]state.Session) error) error
	SessionDetails(ctx context.Context, id string) (state.Session, admin.SessionDetails, error)
	PodStates(ctx context.Context) (map[string]*admin.PodState, error)
	Histories(ctx context.Context) (map[string]*json.RawMessage, error)
	// Ready reports whether the pod accepts new clients.
	Ready() bool
}

// Config is what the console is told.
type Config struct {
	Pod     string        // that it runs on
	Version string        // of the build
	Viewers int           // that the pod serves at a time; more are refused with 503
	Refresh time.Duration // between two looks at what there is; longer if a look takes a tenth of that
}

// Defaults of Config.
const (
	DefaultViewers = 16
	DefaultRefresh = 2 * time.Second
)

// Console is the console. It is an http.Handler for everything under Prefix, and asks nobody who he is.
type Console struct {
	cfg     Config
	deps    Deployment
	log     zerolog.Logger
	files   http.Handler // of static/
	page    []byte
	assets  string // hash of the files
	started time.Time
	places  chan struct{}

	mu      sync.Mutex // of what all viewers see
	seen    overview
	seenErr error
	seenAt  time.Time
}

// Prefix is where the console is.
const Prefix = "/console/"

// staticPrefix is where its files are, followed by the hash of all of them: so browsers keep them, and never use those of another version.
const staticPrefix = Prefix + "static/"

//go:embed static
var static embed.FS

// New makes the console.
func New(cfg Config, d Deployment, log zerolog.Logger) (*Console, error) {
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		return nil, err
	}
	assets, err := hash(files)
	if err != nil {
		return nil, err
	}
	return &Console{
		cfg: cfg, deps: d, log: log, files: http.FileServerFS(files),
		page: []byte(strings.ReplaceAll(string(page), "{{assets}}", assets)), assets: assets, started: time.Now(), places: make(chan struct{}, cfg.Viewers),
	}, nil
}

// hash tells one version of the files from another.
func hash(files fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		_, _ = h.Write(append([]byte(path+"\x00"), content...)) // never fails
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

// policy lets the page use nothing but its own files, and nobody frame it. The pictures of snapshots are blobs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers a request for a path under Prefix.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	switch path := r.URL.Path; {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "the console is read with GET; what it does it does through /rest-api")
	case path == Prefix:
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(c.page) // the client may be gone
	case path == Prefix+"live":
		c.live(w, r)
	case strings.HasPrefix(path, staticPrefix) && !strings.HasSuffix(path, "/"):
		version, _, _ := strings.Cut(strings.TrimPrefix(path, staticPrefix), "/")
		if version == c.assets { // otherwise the page is another pod's, in the middle of an upgrade, and does with what there is
			h.Set("Cache-Control", "private, max-age=31536000, immutable")
		}
		http.StripPrefix(staticPrefix+version, c.files).ServeHTTP(w, r)
	default:
		refuse(w, http.StatusNotFound, "no such page")
	}
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text}) // the client may be gone
}
