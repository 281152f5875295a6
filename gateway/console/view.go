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
	viewPods     = "pods" // the overview without its history
)

const (
	maxRows   = 200     // rows of a page
	maxOffset = 100_000 // offset of its first row
	maxSearch = 200     // length of the search text in bytes
)

// view selects the data that a viewer gets.
type view struct {
	Name          string
	ID            string // of the stream or session, for views of one
	Search, Sort  string
	Down          bool
	Offset, Limit int
}

// parseView reads a view from the query of its URL.
func parseView(q url.Values) (view, error) {
	v := view{Name: cmp.Or(q.Get("view"), viewOverview), ID: q.Get("id"), Search: strings.ToLower(q.Get("q")), Sort: q.Get("sort"), Down: q.Get("desc") == "1"}
	var err error
	v.Offset, err = number(q, "offset", 0, maxOffset)
	if err != nil {
		return v, err
	}
	v.Limit, err = number(q, "limit", 50, maxRows)
	columns := map[string][]string{viewOverview: nil, viewStreams: streamColumns, viewSessions: sessionColumns, viewStream: nil, viewSession: nil, viewPods: nil}
	sortable, known := columns[v.Name]
	switch {
	case err != nil:
	case !known:
		err = errors.New("view must be overview, pods, streams, sessions, stream or session")
	case v.Sort != "" && !slices.Contains(sortable, v.Sort):
		err = fmt.Errorf("sort must be one of %s", strings.Join(sortable, ", "))
	case len(v.Search) > maxSearch:
		err = fmt.Errorf("q must not be longer than %d bytes", maxSearch)
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

// matches reports whether one of the words contains the search text.
func (v view) matches(words ...string) bool {
	if v.Search == "" {
		return true
	}
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(w), v.Search) })
}

// table sorts rows and selects those of one page. It only holds slightly more rows than those up to the end
// of the page.
type table[R any] struct {
	view    view
	order   func(a, b R) int // ascending order of the sorted column
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

// page returns the rows.
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
