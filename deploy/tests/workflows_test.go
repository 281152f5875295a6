package tests

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
)

// actionlint accepts the workflows of GitHub Actions, and each make target that they run exists.
func TestWorkflowsAreValid(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d workflows, want 5: test, lint, chart, release, vulnerabilities; %v", len(files), err)
	}
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	makefile := string(readFile(t, root+"/Makefile"))
	for _, file := range files {
		text := readFile(t, file)
		faults, err := linter.Lint(file, text, nil)
		if err != nil {
			t.Error(err)
		}
		for _, fault := range faults {
			t.Errorf("%s:%d: %s [%s]", filepath.Base(file), fault.Line, fault.Message, fault.Kind)
		}
		for _, m := range regexp.MustCompile(`(?m)\bmake ([a-z0-9-]+)`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: no make target %s", filepath.Base(file), m[1])
			}
		}
	}
}

// actionlint finds a fault, so its acceptance of the workflows is effective.
func TestWorkflowFaultIsFound(t *testing.T) {
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	faults, err := linter.Lint("x.yaml", []byte("on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ github.none }}\n"), nil)
	if err != nil || len(faults) == 0 {
		t.Errorf("%v, %v", faults, err)
	}
}
