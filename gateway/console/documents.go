package console

import (
	_ "embed" // for documentPage
	"fmt"
	"html"
	"io"
	"net/http"
	"path"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"

	"wcsgateway/docs"
)

// docsPrefix is the path of the documents.
const docsPrefix = pathPrefix + "docs/"

//go:embed document.html
var documentPage string

// markdown renders the documents.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithASTTransformers(util.Prioritized(inward{}, 0))),
)

// document sends a document of this version as a page, or the list of them for the empty name.
func (c *Console) document(w http.ResponseWriter, name string) {
	heading, body, err := "Documents", "", error(nil)
	if name == "" {
		body, err = listOfDocuments()
	} else {
		heading = title(name)
		body, err = render(name)
	}
	if err != nil {
		reject(w, http.StatusNotFound, "no such document")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	page := strings.NewReplacer("{{assets}}", c.assets, "{{title}}", html.EscapeString(heading), "{{body}}", body)
	_, _ = io.WriteString(w, page.Replace(documentPage)) // the client might have disconnected
}

// render returns the HTML of a document.
func render(name string) (string, error) {
	source, err := docs.Files.ReadFile(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = markdown.Convert(source, &b, parser.WithContext(parser.NewContext(parser.WithIDs(anchors{}))))
	return scrolled.Replace(b.String()), err
}

// scrolled lets wide tables and code scroll, also by keyboard.
var scrolled = strings.NewReplacer(
	"<table>", `<div class="wide" tabindex="0" role="region" aria-label="Table"><table>`, "</table>", "</table></div>",
	"<pre>", `<pre tabindex="0">`,
)

func listOfDocuments() (string, error) {
	files, err := docs.Files.ReadDir(".")
	var b strings.Builder
	b.WriteString("<h1>Documents</h1>\n<ul>\n")
	for _, f := range files {
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a></li>\n", f.Name(), html.EscapeString(title(f.Name())))
	}
	b.WriteString("</ul>\n")
	return b.String(), err
}

// title returns the first heading of a document.
func title(name string) string {
	source, err := docs.Files.ReadFile(name)
	if err != nil {
		return name
	}
	line, _, _ := strings.Cut(string(source), "\n")
	return strings.TrimPrefix(line, "# ")
}

// inward keeps only the text of links to files that the binary does not have.
type inward struct{}

// Transform implements parser.ASTTransformer.
func (inward) Transform(doc *ast.Document, _ text.Reader, _ parser.Context) {
	var outside []ast.Node
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the function never fails
		if link, ok := n.(*ast.Link); ok && entering && strings.HasPrefix(path.Clean(string(link.Destination)), "..") {
			outside = append(outside, n)
		}
		return ast.WalkContinue, nil
	})
	for _, link := range outside {
		for child := link.FirstChild(); child != nil; child = link.FirstChild() {
			link.Parent().InsertBefore(link.Parent(), link, child)
		}
		link.Parent().RemoveChild(link.Parent(), link)
	}
}

// anchors are the ids of the headings of a document, as the links between documents have them.
type anchors map[string]bool

// Generate implements parser.IDs.
func (a anchors) Generate(heading []byte, _ ast.NodeKind) []byte {
	id := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(string(heading)))
	unique := id
	for i := 1; a[unique]; i++ {
		unique = fmt.Sprintf("%s-%d", id, i)
	}
	a[unique] = true
	return []byte(unique)
}

// Put implements parser.IDs.
func (a anchors) Put(id []byte) { a[string(id)] = true }
