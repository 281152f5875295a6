package socket

import (
	"bytes"
	"io"
	"sync"

	"github.com/gorilla/websocket"
)

// maxPooled is the size in bytes below which a message is read into a buffer that is used again. It holds the
// largest offer.
const maxPooled = 64 << 10

// incoming is a message that is being read.
type incoming struct {
	bytes.Buffer
	first io.LimitedReader // up to maxPooled bytes of it
}

var incomings = sync.Pool{New: func() any { return new(incoming) }}

// readMessage reads a message as ws.ReadMessage does, which allocates twice the size of each: floods would
// make the garbage collector run more often, on all processors.
func readMessage(ws *websocket.Conn) (typ int, message []byte, err error) {
	typ, r, err := ws.NextReader()
	if err != nil {
		return typ, nil, err
	}
	in := incomings.Get().(*incoming)
	defer incomings.Put(in)
	in.Reset()
	in.first = io.LimitedReader{R: r, N: maxPooled}
	_, err = in.ReadFrom(&in.first)
	in.first.R = nil
	switch {
	case err != nil:
		return typ, nil, err
	case in.Len() < maxPooled:
		return typ, bytes.Clone(in.Bytes()), nil
	}
	message, err = io.ReadAll(io.MultiReader(&in.Buffer, r))
	return typ, message, err
}
