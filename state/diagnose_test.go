package state

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TryCommands tries every command that this package uses.
func TestTriedCommandsAreThoseInUse(t *testing.T) {
	// Of connections, Pub/Sub and scripts, which are tried otherwise, and methods that are no commands.
	other := strings.Fields("PING PUBLISH SPUBLISH SUBSCRIBE SSUBSCRIBE CLOSE ADDHOOK PIPELINE PIPELINED EXEC DO INFO")
	tried := append(slices.Concat(directCommands, scriptCommands), other...)
	used := make(map[string]string)
	for pattern, command := range map[string]*regexp.Regexp{
		"scripts/*.lua": regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`),
		"*.go":          regexp.MustCompile(`(?:\.client|pipe)\.([A-Z][A-Za-z]+)\(`),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range command.FindAllSubmatch(text, -1) {
				used[strings.ToUpper(strings.Replace(string(m[1]), "MemberN", "Member", 1))] = file
			}
		}
	}
	if len(used) < 20 {
		t.Errorf("only %d commands: %v", len(used), used)
	}
	for command, file := range used {
		if !slices.Contains(tried, command) {
			t.Errorf("%s in %s is not tried", command, file)
		}
	}
}
