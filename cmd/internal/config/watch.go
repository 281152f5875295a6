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

// settle is how long files must have been left alone before they are looked at: a change takes several steps, and
// a certificate comes in two files.
const settle = 200 * time.Millisecond

// Watch calls changed whenever the content of the files is no longer what it was, until ctx is done. They may be replaced, and be
// links that are changed to point elsewhere, as Kubernetes does with mounted ConfigMaps and Secrets: it is the folders
// that are watched. It fails if the system does not let it.
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
		defer func() { _ = events.Close() }() // ends with the process at the latest
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
	quiet := time.NewTimer(settle) // once at the start: for what has changed before the folders were watched
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.events.Events:
			quiet.Reset(settle)
		case <-w.events.Errors: // events were lost
			quiet.Reset(settle)
		case <-quiet.C:
			_ = w.addFolders() // of links that point elsewhere now; the old ones go on being watched
			if now := digest(w.files); now != w.seen {
				w.seen = now
				changed()
			}
		}
	}
}

// addFolders watches the folders of the files and, if they are links, of what they point to.
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

// digest is that of the content of all files; one that cannot be read counts as none.
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
