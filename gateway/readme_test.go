package gateway

import (
	"os"
	"strings"
	"testing"
)

// Every command that a client may send has its row in the README's fidelity table.
func TestCommandsAreInREADME(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(b), "### What clients send")
	table, _, ended := strings.Cut(table, "###")
	if !found || !ended {
		t.Fatal("README.md has lost its table of commands")
	}
	for name := range commands {
		if !strings.Contains(table, "`"+string(name)+"`") {
			t.Errorf("%s has no row", name)
		}
	}
}
