package session

import "testing"

// A session returns to a pod that has not released all of it: the end of the old stream does not hide the
// new one, which is the same at LiveKit.
func TestRegistryKeepsTheNewerStream(t *testing.T) {
	t.Parallel()
	r := newRegistry()
	old, back := newTestStream(), newTestStream()
	r.add(old)
	r.add(back)
	r.remove(old)
	if r.find("i") != back || len(r.playersOf("s")) != 1 {
		t.Error("the newer stream is not found")
	}
	r.remove(back)
	if r.find("i") != nil || len(r.all())+len(r.playersOf("s")) != 0 {
		t.Error("something is left")
	}
}

func newTestStream() *stream {
	return &stream{participant: participant{identity: "i"}, streamSpec: streamSpec{kindOfStream: played, name: "s"}}
}
