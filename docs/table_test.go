package docs

import (
	"slices"
	"testing"
)

func TestTablesOfSectionAreRead(t *testing.T) {
	rows := Table("fidelity.md", "### Media providers")
	if len(rows) != 3 || len(rows[1]) != 3 || rows[1][1] != "none" || !slices.Equal(Names(rows[1][0]), []string{"MSE", "WSPlayer"}) {
		t.Errorf("rows %q", rows)
	}
	if got, want := Plain(rows[1][2]), "FAILED No common codecs, or the other server"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if rows := Table("fidelity.md", "## Nothing"); rows != nil {
		t.Errorf("rows of a section that does not exist: %q", rows)
	}
}
