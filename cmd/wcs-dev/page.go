package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sdkFile is the stock SDK's build for browsers, in its npm package.
const sdkFile = "flashphoner.js"

// pageStopTimeout bounds the wait for open requests of the page at the end.
const pageStopTimeout = 2 * time.Second

//go:embed page
var pageFiles embed.FS

// page serves the demo page, which needs no other host.
type page struct {
	index   *template.Template
	files   fs.FS
	ws      string // the SDK's address, ws://host:port
	apps    []string
	sdk     string   // path of the SDK's build for browsers
	cameras []string // addresses of the sample cameras
}

// newPage returns the page for a gateway, its applications and sample cameras.
func newPage(o options) (*page, error) {
	index, err := template.ParseFS(pageFiles, "page/index.html")
	if err != nil {
		return nil, fmt.Errorf("read the demo page: %w", err)
	}
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return nil, fmt.Errorf("read the demo page: %w", err)
	}
	return &page{
		index: index, files: files, ws: o.gatewayURL(), apps: o.appKeys(), sdk: filepath.Join(o.sdk, sdkFile), cameras: o.cameraURLs(),
	}, nil
}

func (p *page) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serveIndex)
	mux.HandleFunc("GET /"+sdkFile, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, p.sdk) })
	mux.Handle("GET /", http.FileServerFS(p.files))
	return mux
}

// hasSDK reports whether the SDK is installed. It is checked for each request: after installing, a reload of
// the page is enough.
func (p *page) hasSDK() bool { return isFile(p.sdk) }

func (p *page) serveIndex(w http.ResponseWriter, _ *http.Request) {
	var body bytes.Buffer
	if err := p.index.Execute(&body, map[string]any{"WS": p.ws, "Apps": strings.Join(p.apps, ", "), "SDK": p.hasSDK(), "Cameras": p.cameras}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = body.WriteTo(w) // the browser disconnected
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// serve serves HTTP on l until ctx is done.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the demo page: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), pageStopTimeout)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		_ = server.Close() // cuts off the remaining requests
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the demo page: %w", err)
	}
	return nil
}
