package rest

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"
)

// pageTimeout bounds the writing of one page of a list. The whole list has no time limit.
const pageTimeout = 30 * time.Second

// list writes a response that is a JSON array, page by page, so that the whole array is never in memory.
type list struct {
	q   *request
	out *bufio.Writer
	n   int
}

func (q *request) newList() *list { return &list{q: q, out: bufio.NewWriterSize(q.w, 16<<10)} }

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

// nextPage extends the write deadline for another page.
func (l *list) nextPage() error {
	return http.NewResponseController(l.q.w.ResponseWriter).SetWriteDeadline(time.Now().Add(pageTimeout))
}

// end closes the array. Like WCS, an empty list is errNothing. After an error the array stays open, so that
// the client cannot take the partial response for a complete list.
func (l *list) end(err error) error {
	switch {
	case err != nil && l.q.Context().Err() != nil:
		return l.q.ignoreWriteError(err)
	case err != nil:
		return err
	case l.n == 0:
		return errNothing
	}
	_ = l.out.WriteByte(']') // Flush returns the error
	return l.q.ignoreWriteError(l.out.Flush())
}
