package gateway

import (
	"context"
	"crypto/rand"
	"sync"

	"wcsgateway/state"
)

// ask puts a question to another pod and waits for the answer until ctx is done.
func (g *Gateway) ask(ctx context.Context, pod string, e state.Event) (answer string, err error) {
	e.ID, e.From = rand.Text(), g.cfg.Pod
	answers := g.questions.ask(e.ID)
	defer g.questions.forget(e.ID)
	if err := g.deps.Events.Publish(ctx, pod, e); err != nil {
		return "", err
	}
	select {
	case answer = <-answers:
		return answer, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// questions are those to other pods whose answer is awaited.
type questions struct {
	mu   sync.Mutex
	open map[string]chan string
}

func (q *questions) ask(id string) <-chan string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open = make(map[string]chan string)
	}
	q.open[id] = make(chan string, 1)
	return q.open[id]
}

func (q *questions) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, id)
}

// answer takes an answer; one that comes twice or too late is dropped.
func (q *questions) answer(id, text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case q.open[id] <- text: // a nil channel, that of no question, takes nothing
	default:
	}
}
