// Package console serves the web page that shows operators the deployment (docs/console.md): its files, and
// the events that keep it up to date. The page acts through the REST API, whose users, origins and audit log
// apply. The data come from package admin. Only packages rest and main use this package.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/ends"
	"wcsgateway/state"
)

// Deployment queries the pods, streams and sessions of all pods. Its errors wrap state.ErrNotFound,
// state.ErrUnavailable or admin.ErrPodUnreachable.
type Deployment interface {
	Streams
	EachSession(ctx context.Context, yield func([]state.Session) error) error
	SessionDetails(ctx context.Context, id string) (state.Session, admin.SessionDetails, error)
	PodStates(ctx context.Context) (map[string]*admin.PodState, error)
	Histories(ctx context.Context) (map[string]*json.RawMessage, error)
	Failures(ctx context.Context) (map[string]*[]ends.Failure, error)
}

// Streams queries the streams of all pods, also those that have ended.
type Streams interface {
	EachStream(ctx context.Context, f admin.StreamFilter, yield func([]admin.StreamEntry) error) error
	Figures(ctx context.Context, streams []admin.StreamEntry) (map[string]admin.Figures, error)
	StreamRecord(ctx context.Context, e admin.StreamEntry) (*ends.Record, error)
	EndedStream(ctx context.Context, mediaID string) (*ends.Record, error)
	EndedStreams(ctx context.Context) (map[string]*[]ends.Record, error)
}

// Config configures the console.
type Config struct {
	Pod     string // id of this pod
	Host    string // name of its machine or container
	Version string // of the build
	// Ready reports whether this pod accepts new clients.
	Ready func() bool
	// Settings returns the settings in use as YAML, without secrets.
	Settings func() string
	Viewers  int           // concurrent viewers of this pod; more are rejected with 503
	Refresh  time.Duration // between two updates; longer, up to maxPause, if an update takes more than a tenth of that
}

// Defaults of Config.
const (
	DefaultViewers = 16
	DefaultRefresh = 2 * time.Second
)

// Console is an http.Handler for all paths under pathPrefix. It does not authenticate requests.
type Console struct {
	// set once
	cfg     Config
	deps    Deployment
	log     zerolog.Logger
	files   http.Handler // of static/
	page    string
	assets  string // hash of the files
	started time.Time
	viewers *semaphore.Weighted

	mu      sync.Mutex // the overview, which all viewers share
	seen    overview
	seenErr error
	seenAt  time.Time
}

// pathPrefix is the path of the console.
const pathPrefix = "/console/"

// staticPrefix is the path of the files. The hash of all files follows, so that browsers can cache them and
// never mix versions.
const staticPrefix = pathPrefix + "static/"

//go:embed static
var static embed.FS

//go:embed static/index.html
var consolePage string

// New returns the console.
func New(cfg Config, d Deployment, log zerolog.Logger) *Console {
	files, _ := fs.Sub(static, "static") // the error is that of an invalid path
	assets := hash(files)
	return &Console{
		cfg: cfg, deps: d, log: log, files: http.FileServerFS(files),
		page: strings.ReplaceAll(consolePage, "{{assets}}", assets), assets: assets, started: time.Now(), viewers: semaphore.NewWeighted(int64(cfg.Viewers)),
	}
}

// hash returns a hash of the names and contents of all files, which are in memory.
func hash(files fs.FS) string {
	h := sha256.New()
	_ = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		_, _ = h.Write(append([]byte(path+"\x00"), content...)) // never fails
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// policy only allows the page's own files and forbids frames. Snapshots are blobs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers a request for a path under pathPrefix.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	switch path := r.URL.Path; {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		reject(w, http.StatusMethodNotAllowed, "only GET and HEAD are supported")
	case path == pathPrefix:
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, c.page) // the client might have disconnected
	case path == pathPrefix+"settings.yaml":
		writeText(w, c.cfg.Settings())
	case strings.HasPrefix(path, docsPrefix):
		c.document(w, strings.TrimPrefix(path, docsPrefix))
	case path == pathPrefix+"live":
		c.live(w, r)
	case strings.HasPrefix(path, staticPrefix) && !strings.HasSuffix(path, "/"):
		version, _, _ := strings.Cut(strings.TrimPrefix(path, staticPrefix), "/")
		if version == c.assets { // during an upgrade, the page can come from a pod of another version
			h.Set("Cache-Control", "private, max-age=31536000, immutable")
		}
		http.StripPrefix(staticPrefix+version, c.files).ServeHTTP(w, r)
	default:
		reject(w, http.StatusNotFound, "no such page")
	}
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text) // the client might have disconnected
}

func reject(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text}) // the client might have disconnected
}
