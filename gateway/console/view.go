package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Views.
const (
	viewOverview = "overview"
	viewStreams  = "streams"
	viewSessions = "sessions"
	viewStream   = "stream"
	viewSession  = "session"
)

const (
	maxRows   = 200     // of a page
	maxOffset = 100_000 // of its first row
	maxSearch = 200     // bytes
)

// view is what a viewer looks at.
type view struct {
	Name          string
	ID            string // of the one stream or session
	Search, Sort  string
	Down          bool
	Offset, Limit int
}

// parseView reads a view from the query of its address.
func parseView(q url.Values) (view, error) {
	v := view{Name: cmp.Or(q.Get("view"), viewOverview), ID: q.Get("id"), Search: strings.ToLower(q.Get("q")), Sort: q.Get("sort"), Down: q.Get("desc") == "1"}
	var err error
	v.Offset, err = number(q, "offset", 0, maxOffset)
	if err != nil {
		return v, err
	}
	v.Limit, err = number(q, "limit", 50, maxRows)
	columns := map[string][]string{viewOverview: nil, viewStreams: streamColumns, viewSessions: sessionColumns, viewStream: nil, viewSession: nil}
	sortable, known := columns[v.Name]
	switch {
	case err != nil:
	case !known:
		err = errors.New("view must be overview, streams, sessions, stream or session")
	case v.Sort != "" && !slices.Contains(sortable, v.Sort):
		err = fmt.Errorf("sort must be one of %s", strings.Join(sortable, ", "))
	case len(v.Search) > maxSearch:
		err = fmt.Errorf("q may have %d bytes", maxSearch)
	case (v.Name == viewStream || v.Name == viewSession) && v.ID == "":
		err = errors.New("id is missing")
	}
	return v, err
}

func number(q url.Values, key string, otherwise, most int) (int, error) {
	if q.Get(key) == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(q.Get(key))
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s must be a number up to %d", key, most)
	}
	return n, nil
}

// matches tells whether one of the words has what is searched for in it.
func (v view) matches(words ...string) bool {
	if v.Search == "" {
		return true
	}
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(w), v.Search) })
}

// table keeps the rows of one page of all that are added. It never holds many more than those up to the page's end.
type table[R any] struct {
	view    view
	order   func(a, b R) int // of the column, downwards or not
	total   int
	matched int
	rows    []R
}

func (t *table[R]) add(r R) {
	t.matched++
	t.rows = append(t.rows, r)
	if len(t.rows) > 2*(t.view.Offset+t.view.Limit)+maxRows {
		t.trim()
	}
}

func (t *table[R]) trim() {
	slices.SortFunc(t.rows, func(a, b R) int {
		if t.view.Down {
			a, b = b, a
		}
		return t.order(a, b)
	})
	t.rows = t.rows[:min(len(t.rows), t.view.Offset+t.view.Limit)]
}

// page gives the rows.
func (t *table[R]) page() []R {
	t.trim()
	return t.rows[min(t.view.Offset, len(t.rows)):]
}

// rowsEvent is a page of a table.
type rowsEvent[R any] struct {
	View    string `json:"view"`
	Total   int    `json:"total"`
	Matched int    `json:"matched"`
	Offset  int    `json:"offset"`
	Rows    []R    `json:"rows"`
}

func (t *table[R]) event(rows []R) rowsEvent[R] {
	return rowsEvent[R]{View: t.view.Name, Total: t.total, Matched: t.matched, Offset: t.view.Offset, Rows: append([]R{}, rows...)}
}
