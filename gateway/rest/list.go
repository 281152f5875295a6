package rest

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"
)

// pageTimeout bounds the writing of a page of a list; how long the whole takes depends on its length and its reader.
const pageTimeout = 30 * time.Second

// list is an answer that is an array, written as it is read: nobody holds all of it.
type list struct {
	q   *request
	out *bufio.Writer
	n   int
}

func newList(q *request) *list { return &list{q: q, out: bufio.NewWriterSize(q.w, 16<<10)} }

func (l *list) add(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	separator := byte(',')
	if l.n == 0 {
		separator = '['
		l.q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	}
	l.n++
	if err := l.out.WriteByte(separator); err != nil {
		return err
	}
	_, err = l.out.Write(b)
	return err
}

// nextPage gives the reader new time.
func (l *list) nextPage() error {
	return http.NewResponseController(l.q.w.ResponseWriter).SetWriteDeadline(time.Now().Add(pageTimeout))
}

// end ends the list, which is errNothing if it is empty, as WCS has it. A list that cannot be brought to its end stays open, so that it
// is no JSON that somebody could take for all there is.
func (l *list) end(err error) error {
	switch {
	case err != nil && l.q.Context().Err() != nil:
		return l.q.gone(err)
	case err != nil:
		return err
	case l.n == 0:
		return errNothing
	}
	_ = l.out.WriteByte(']') // Flush tells
	return l.q.gone(l.out.Flush())
}
