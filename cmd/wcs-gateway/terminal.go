package main

import (
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// isTerminal reports whether a stream of the process is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours reports whether output has colours: on a terminal, unless NO_COLOR is set or the terminal has none.
func (p program) colours(w io.Writer) bool {
	return isTerminal(w) && !slices.ContainsFunc(p.environ, func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	})
}
