package rest

import _ "embed" // the description

//go:embed openapi.yaml
var openAPI []byte

func (a *API) openAPI(q *request) error {
	q.w.Header().Set("Content-Type", "application/yaml")
	_, err := q.w.Write(openAPI)
	return q.ignoreWriteError(err)
}
