package rest

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// pageTimeout bounds the writing of one page of a list. The whole list has no time limit.
const pageTimeout = 30 * time.Second

// list writes a response that is a JSON array, page by page, so that the whole array is never in memory.
type list struct {
	q      *request
	out    *bufio.Writer
	n      int
	others otherLists
}

// newList returns the list of a request, which end ends with the entries of the other servers. They are read
// first, because a failure must be in the headers.
func (a *API) newList(q *request) *list {
	l := &list{q: q, out: bufio.NewWriterSize(q.w, 16<<10)}
	if servers := q.usable(); len(servers) > 0 {
		l.others = a.askOthers(q, servers)
	}
	return l
}

func (l *list) add(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := l.separate(); err != nil {
		return err
	}
	_, err = l.out.Write(b)
	return err
}

// separate begins the array, or the next entry.
func (l *list) separate() error {
	separator := byte(',')
	if l.n == 0 {
		separator = '['
		l.q.w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	}
	l.n++
	return l.out.WriteByte(separator)
}

// addOthers adds the entries of the other servers.
func (l *list) addOthers() error {
	for _, entries := range l.others.entries {
		if err := l.separate(); err != nil {
			return err
		}
		for part := range slices.Chunk(entries, 1<<20) {
			if err := l.nextPage(); err != nil {
				return err
			}
			if _, err := l.out.Write(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextPage extends the write deadline for another page.
func (l *list) nextPage() error {
	return http.NewResponseController(l.q.w.ResponseWriter).SetWriteDeadline(time.Now().Add(pageTimeout))
}

// end adds the entries of the other servers and closes the array. Like WCS, an empty list is errNothing.
// After an error the array stays open, so that the client cannot take the partial response for a complete
// list.
func (l *list) end(err error) error {
	defer l.others.release()
	if err == nil {
		err = l.addOthers()
	}
	switch {
	case err != nil && l.q.Context().Err() != nil:
		return l.q.ignoreWriteError(err)
	case err != nil:
		return err
	case l.n == 0 && l.others.failed:
		return errOther
	case l.n == 0:
		return errNothing
	}
	_ = l.out.WriteByte(']') // Flush returns the error
	return l.q.ignoreWriteError(l.out.Flush())
}
