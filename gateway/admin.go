package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wcsgateway/state"
)

// Operators ask any pod, and mean the whole deployment. What there is, is read from Redis; what is to be done, or is known only to
// the pod that has a stream, goes to that pod as an order.

// ErrPodSilent says that a pod has not answered: it is dead, and will be taken over, or cut off from Redis. What it was asked for may
// have been done.
var ErrPodSilent = errors.New("pod does not answer")

// adminKind is what a pod is to do, with its argument and its answer as JSON.
type adminKind string

const (
	adminEndStreams adminKind = "end-streams" // []string, media ids → int, those that this pod had
	adminEndSession adminKind = "end-session" // string, its id → bool, whether this pod had it
	adminFigures    adminKind = "figures"     // []string, media ids → map[string]Figures by media id
	adminStatistics adminKind = "statistics"  // null → Statistics
)

// adminWait bounds the wait for one pod, which answers from memory.
const adminWait = 1500 * time.Millisecond

// order has a pod, which may be this one, do something and reads its answer into result.
func (g *Gateway) order(ctx context.Context, pod string, kind adminKind, arg, result any) error {
	body, err := json.Marshal(arg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, adminWait)
	defer cancel()
	e := state.Event{Kind: state.EventAdmin, Name: string(kind), Body: body}
	answer := ""
	if pod == g.cfg.Pod {
		answer = g.carryOut(ctx, e)
	} else if answer, err = g.ask(ctx, pod, e); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrPodSilent, pod, err)
	}
	if err := json.Unmarshal([]byte(answer), result); err != nil {
		return fmt.Errorf("pod %s, of another version: %s: %w", pod, kind, err)
	}
	return nil
}

// answerAdmin does what another pod's operator wants.
func (g *Gateway) answerAdmin(e state.Event) {
	ctx, cancel := g.withTimeout(adminWait)
	defer cancel()
	answer := g.carryOut(ctx, e)
	g.tell(ctx, []string{e.From}, state.Event{Kind: state.EventAnswered, ID: e.ID, Answer: answer})
}

// carryOut gives the answer, "" to what it does not understand.
func (g *Gateway) carryOut(ctx context.Context, e state.Event) (answer string) {
	var (
		ids    []string
		id     string
		result any
		err    error
	)
	switch adminKind(e.Name) {
	case adminEndStreams:
		if err = json.Unmarshal(e.Body, &ids); err == nil {
			result = g.endStreams(ids)
		}
	case adminEndSession:
		if err = json.Unmarshal(e.Body, &id); err == nil {
			result = g.endSession(id)
		}
	case adminFigures:
		if err = json.Unmarshal(e.Body, &ids); err == nil {
			result = g.figuresHere(ctx, ids)
		}
	case adminStatistics:
		result = g.statisticsHere()
	default:
		err = fmt.Errorf("unknown order %q", e.Name)
	}
	text, failed := json.Marshal(result)
	if err = errors.Join(err, failed); err != nil {
		g.log.Error().Err(err).Str("pod_from", e.From).Msg("a pod of another version sent an order that cannot be read")
		return ""
	}
	return string(text)
}
