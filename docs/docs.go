// Package docs embeds the documents, in the version of the gateway. The console shows them (gateway/console),
// and cmd/wcs-doctor reads their tables.
package docs

import (
	"embed"
	"regexp"
	"strings"
)

// Files are the documents, by file name.
//
//go:embed *.md
var Files embed.FS

// Table returns the rows of the tables in a section of a document, without their heads. The section begins
// with the given heading, such as "## Media", and ends before the next one. It returns no row if there is no
// such section.
func Table(file, heading string) (rows [][]string) {
	text, err := Files.ReadFile(file)
	_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
	if err != nil || !found {
		return nil
	}
	head := true
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			break
		}
		switch cells, isRow := strings.CutPrefix(line, "|"); {
		case !isRow:
			head = true
		case strings.HasPrefix(cells, "---"):
			head = false
		case !head:
			rows = append(rows, splitCells(cells))
		}
	}
	return rows
}

func splitCells(row string) (cells []string) {
	for cell := range strings.SplitSeq(strings.TrimSuffix(row, "|"), "|") {
		cells = append(cells, strings.TrimSpace(cell))
	}
	return cells
}

var (
	link = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)
	code = regexp.MustCompile("`([^`]*)`")
)

// Plain returns the text of a cell without links and marks.
func Plain(cell string) string {
	return strings.NewReplacer("`", "", "**", "").Replace(link.ReplaceAllString(cell, "$1"))
}

// Names returns what is marked as code in a cell.
func Names(cell string) (names []string) {
	for _, m := range code.FindAllStringSubmatch(cell, -1) {
		names = append(names, m[1])
	}
	return names
}
