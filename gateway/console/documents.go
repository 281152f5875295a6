package console

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"wcsgateway/docs"
)

// docsPrefix is the path of the documents.
const docsPrefix = pathPrefix + "docs/"

// document sends a document of this version as text, or the list of them for the empty name.
func document(w http.ResponseWriter, name string) {
	if name == "" {
		documents(w)
		return
	}
	text, err := docs.Files.ReadFile(name)
	if err != nil {
		reject(w, http.StatusNotFound, "no such document")
		return
	}
	writeText(w, string(text))
}

func documents(w http.ResponseWriter) {
	files, err := docs.Files.ReadDir(".")
	if err != nil {
		reject(w, http.StatusNotFound, "no documents")
		return
	}
	var b strings.Builder
	b.WriteString(`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">` +
		`<meta name="color-scheme" content="light dark"><title>Documents – WCS gateway</title><h1>Documents</h1><ul>`)
	for _, f := range files {
		fmt.Fprintf(&b, `<li><a href="%s">%s</a></li>`, f.Name(), title(f.Name()))
	}
	b.WriteString(`</ul><p><a href="../">Console</a></p></html>`)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, b.String()) // the client might have disconnected
}

// title returns the first heading of a document.
func title(name string) string {
	text, err := docs.Files.ReadFile(name)
	if err != nil {
		return name
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(line, "# ")
}
