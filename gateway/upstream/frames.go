package upstream

import (
	"bytes"
	"encoding/binary"
	"math"

	"wcsgateway/gateway/socket"
)

// Opcodes of RFC 6455 that the copying looks at.
const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8 // it and higher ones are control frames
)

// scanner finds the frames in one direction of a WebSocket, in whatever pieces its bytes arrive.
type scanner struct {
	head    [14]byte // of the present frame
	have    int      // bytes of head
	payload bool     // head is complete
	left    uint64   // bytes of the payload that have not come

	onText func(start, end []byte) // nil: none; is called for each text message with its first and last bytes, unmasked
	text   bool                    // a text message is in progress
	kept   int                     // bytes at the beginning of start, and at the end of end
	start  [maxEdge]byte
	end    [maxEdge]byte

	onPayload func(b []byte) // nil: none; is called for each piece of a frame, at least once, before left changes
}

// next passes over the bytes of one frame: all of b, or less if the frame ends before. started is true if the
// frame's head is complete with these bytes, ended if the frame is.
func (s *scanner) next(b []byte) (n int, started, ended bool) {
	if !s.payload {
		for s.have < s.headSize() && n < len(b) {
			s.head[s.have] = b[n]
			s.have, n = s.have+1, n+1
		}
		if s.have < s.headSize() {
			return n, false, false
		}
		s.payload, s.left, started = true, s.size(), true
	}
	passed := min(uint64(len(b)-n), s.left)
	s.keep(b[n : n+int(passed)])
	if s.onPayload != nil {
		s.onPayload(b[n : n+int(passed)])
	}
	n, s.left = n+int(passed), s.left-passed
	if s.left == 0 {
		s.have, s.payload, ended = 0, false, true
	}
	return n, started, ended
}

// keep keeps the first and the last bytes of a text message, and calls onText when it has all.
func (s *scanner) keep(b []byte) {
	opcode, at := s.opcode(), s.size()-s.left
	if s.onText == nil || opcode >= opClose { // a control frame can be between the fragments of a message
		return
	}
	if opcode != opContinuation && at == 0 {
		s.text, s.kept = opcode == opText, 0
	}
	if !s.text {
		return
	}
	s.kept += s.unmask(s.start[s.kept:], b, at)
	last := b[max(0, len(b)-maxEdge):]
	copy(s.end[:], s.end[len(last):])
	s.unmask(s.end[maxEdge-len(last):], last, at+uint64(len(b)-len(last)))
	if s.final() && uint64(len(b)) == s.left {
		s.text = false
		s.onText(s.start[:s.kept], s.end[maxEdge-s.kept:])
	}
}

// unmask copies what comes at a place of the payload, as far as there is room for it, and returns its size.
func (s *scanner) unmask(to, b []byte, at uint64) int {
	var mask [4]byte
	if s.masked() {
		copy(mask[:], s.head[s.headSize()-4:])
	}
	n := copy(to, b)
	for i := range to[:n] {
		to[i] ^= mask[(at+uint64(i))%4]
	}
	return n
}

// between reports whether no frame is in progress.
func (s *scanner) between() bool { return s.have == 0 }

func (s *scanner) opcode() byte { return s.head[0] & 0xf }

// final reports whether the frame is the last one of its message.
func (s *scanner) final() bool { return s.head[0]&0x80 != 0 }

// headSize is what is known of the size of the frame's head.
func (s *scanner) headSize() int {
	n := 2
	if s.have < n {
		return n
	}
	switch s.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if s.masked() {
		n += 4
	}
	return n
}

func (s *scanner) masked() bool { return s.head[1]&0x80 != 0 }

func (s *scanner) size() uint64 {
	switch n := s.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(s.head[2:])
	default:
		return uint64(n)
	}
}

// Replace returns what a client has sent with another message in place of a complete one, and without
// anything before that one. It is nil if the message is not in sent.
func Replace(sent, message, by []byte) []byte {
	var s scanner
	var got []byte
	for at := 0; at < len(sent); {
		n, _, ended := s.next(sent[at:])
		at += n
		if !ended || s.opcode() >= opClose { // a control frame can be between the fragments of a message
			continue
		}
		if s.opcode() != opContinuation {
			got = got[:0]
		}
		payload := sent[at-int(s.size()) : at]
		mask := sent[at-len(payload)-4:]
		for i, b := range payload {
			got = append(got, b^mask[i%4])
		}
		if s.final() && bytes.Equal(got, message) {
			return append(textFrame(by), sent[at:]...)
		}
	}
	return nil
}

// textFrame is a client's text message. Its mask is zero.
func textFrame(message []byte) []byte {
	head := []byte{0x80 | opText, 0x80}
	switch n := len(message); {
	case n < 126:
		head[1] |= byte(n)
	case n <= math.MaxUint16:
		head[1] |= 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head[1] |= 127
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	return append(append(head, 0, 0, 0, 0), message...)
}

// closeFrame is a server's close frame.
func closeFrame(r socket.Reason) []byte {
	b := []byte{0x80 | opClose, byte(2 + len(r.Name))}
	b = binary.BigEndian.AppendUint16(b, uint16(r.Code))
	return append(b, r.Name...)
}
