package process

import (
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// IsTerminal reports whether a stream of the process is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Colours reports whether output has colours: on a terminal, unless NO_COLOR is set or the terminal has none.
func Colours(w io.Writer, environ []string) bool {
	return IsTerminal(w) && !slices.ContainsFunc(environ, func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	})
}
