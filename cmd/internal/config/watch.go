package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quietTime is how long files must stay unchanged before they are read: a change takes several steps, and a
// certificate consists of two files.
const quietTime = 200 * time.Millisecond

// Watch calls changed whenever the content of the files changed, until ctx is done. It watches the files'
// folders, so the files can be replaced, and can be links that are redirected, as Kubernetes does with
// mounted ConfigMaps and Secrets. It fails if the system does not allow watching.
func Watch(ctx context.Context, files []string, changed func()) error {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	w := watch{files: files, events: events, seen: digest(files)}
	if err := w.addFolders(); err != nil {
		_ = events.Close() // nothing was read
		return fmt.Errorf("watch files: %w", err)
	}
	go func() {
		defer func() { _ = events.Close() }() // the process ends soon anyway
		w.run(ctx, changed)
	}()
	return nil
}

type watch struct {
	files  []string
	events *fsnotify.Watcher
	seen   [sha256.Size]byte
}

func (w *watch) run(ctx context.Context, changed func()) {
	quiet := time.NewTimer(quietTime) // once at the start: for changes before the folders were watched
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.events.Events:
			quiet.Reset(quietTime)
		case <-w.events.Errors: // events were lost
			quiet.Reset(quietTime)
		case <-quiet.C:
			_ = w.addFolders() // the new targets of links; the old ones stay watched
			if now := digest(w.files); now != w.seen {
				w.seen = now
				changed()
			}
		}
	}
}

// addFolders watches the folders of the files and, for links, those of their targets.
func (w *watch) addFolders() error {
	for _, file := range w.files {
		folders := []string{filepath.Dir(file)}
		if target, err := filepath.EvalSymlinks(file); err == nil {
			folders = append(folders, filepath.Dir(target))
		}
		for _, folder := range slices.Compact(folders) {
			if err := w.events.Add(folder); err != nil {
				return err
			}
		}
	}
	return nil
}

// digest returns the hash of the content of all files; an unreadable file counts as empty.
func digest(files []string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, file := range files {
		content, err := os.ReadFile(file)
		fmt.Fprintf(h, "%d %t\n", len(content), err == nil)
		_, _ = h.Write(content) // a hash does not fail
		_, _ = io.WriteString(h, "\n")
	}
	copy(sum[:], h.Sum(nil))
	return sum
}
