package socket

import (
	"bytes"
	"encoding/binary"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// Small frames are handed to the kernel by the sender if no other frame waits: a goroutine for each ping
// would cost as much as the write. The call does not block. What the kernel does not take is queued. Frames
// wait for the goroutine of write on connections that are not the kernel's, such as those with TLS.

// maxDirect is the size up to which frames are written by the sender.
const maxDirect = 16 << 10

// direct is one call to the kernel.
type direct struct {
	wire []byte // frames with their headers
	n    int    // bytes that the kernel took
	call func(fd uintptr)
}

var directs = sync.Pool{New: func() any {
	d := new(direct)
	d.call = d.write
	return d
}}

// write is called by syscall.RawConn. The descriptor does not block. A fault is left to the goroutine of
// Conn.write, which gets it too.
func (d *direct) write(fd uintptr) {
	n, err := syscall.Write(int(fd), d.wire)
	if err == nil {
		d.n = n
	}
}

// appendHeader appends the header of an unmasked text frame of up to maxDirect (RFC 6455 section 5.2).
func appendHeader(b []byte, payload int) []byte {
	b = append(b, 0x80|websocket.TextMessage)
	if payload < 126 {
		return append(b, byte(payload))
	}
	return binary.BigEndian.AppendUint16(append(b, 126), uint16(payload))
}

// sendNow writes frames without waiting, unless others wait. It returns false if nothing was written. If the
// kernel took a part, the rest is queued. It needs mu.
func (c *Conn) sendNow(frames [][]byte, size int, others bool) bool {
	if c.writing || c.controls > 0 || size > maxDirect {
		return false
	}
	kernel, ok := c.ws.NetConn().(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := kernel.SyscallConn()
	if err != nil {
		return false
	}
	d := directs.Get().(*direct)
	defer directs.Put(d)
	d.wire, d.n = d.wire[:0], 0
	for _, f := range frames {
		d.wire = append(appendHeader(d.wire, len(f)), f...)
	}
	if raw.Control(d.call) != nil || d.n == 0 {
		return false // the goroutine of write finds out why
	}
	if others {
		c.othersAt = time.Now()
	}
	if d.n < len(d.wire) {
		c.split = true
		c.enqueue(queued{frame: bytes.Clone(d.wire[d.n:]), others: others, rest: true})
	}
	return true
}
