package serial

import "testing"

func TestLatchIsDoneOnceReleased(t *testing.T) {
	t.Parallel()
	isDone := func(l *Latch) bool {
		select {
		case <-l.Done():
			return true
		default:
			return false
		}
	}
	var asked, unasked Latch
	if isDone(&asked) {
		t.Error("done before it was released")
	}
	for _, l := range []*Latch{&asked, &unasked} {
		l.Release()
		l.Release()
		if !isDone(l) {
			t.Error("not done after it was released")
		}
	}
}
